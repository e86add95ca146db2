"""All solvers on one instance."""

from __future__ import annotations

from pathlib import Path

from benchmarks.sdp.conic import LARGEST, run_conic
from benchmarks.sdp.instances import Instance
from benchmarks.sdp.manifold import OPTIMIZERS, run_pymanopt
from benchmarks.sdp.mixing import run_mixing
from benchmarks.sdp.ours import NAMES, reference, run_ours
from benchmarks.sdp.report import Row


def compare(instance: Instance, tol: float, limit: float, mixing: Path | None) -> Row:
    """Ours first, the peers after it, each judged against a reference ten times as accurate."""
    sharp = reference(instance, tol, limit)
    outcomes = [run_ours(certificate, instance, tol, limit) for certificate in NAMES]
    if mixing is not None:
        outcomes += run_mixing(mixing, instance, sharp.value, tol, limit)
    outcomes += [run_pymanopt(name, instance, sharp.value, tol, limit) for name in OPTIMIZERS]
    outcomes += [run_conic(solver, instance, tol, limit) for solver in LARGEST]
    return Row(instance.name, instance.order, instance.edges, sharp.value, sharp.gap, tuple(outcomes))
