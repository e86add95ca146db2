"""The interior point on real layers, against a naive version of itself, sweeps alone, and Clarabel.

    python -m benchmarks.sdp.interior_point LAYERS --output benchmarks/results

LAYERS is a folder of npz files with weights (J, n) and gram (n, n) of trained layers.  Two problems of each file's
first row: the signs at a fixed scale (order n + 1), and the bound over all scales (order n).  Every way is run to a
relative gap of 1e-6, or to its own tolerance of 1e-6, on one thread; Clarabel gets the dual form, in which it is
the faster, with its data assembled beforehand.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.linalg as la
from numpy.typing import NDArray

from benchmarks.record import heading, machine
from benchmarks.sdp.clock import once, repeated
from solvers.methods.interior_point import interior_point

Matrix = NDArray[np.float64]
TOL = 1e-6
CLARABEL_LARGEST = 140


def problems(path: Path) -> dict[str, Matrix]:
    """Costs of the first row's problems."""
    with np.load(path) as archive:
        gram, weights = archive["gram"].astype(float), archive["weights"][0].astype(float)
    linear = gram @ weights
    signs = np.where(weights >= 0.0, 1.0, -1.0)
    scale = float(linear @ signs / (signs @ gram @ signs))
    fixed = np.zeros((len(gram) + 1, len(gram) + 1))
    fixed[1:, 1:] = scale * scale * gram
    fixed[0, 1:] = fixed[1:, 0] = -scale * linear
    joint = 0.995 * float(weights @ linear) * gram - np.outer(linear, linear)
    return {f"{path.stem}, fixed scale": fixed, f"{path.stem}, any scale": joint}


def naive(cost: Matrix, allowed: float) -> tuple[float, float, int]:
    """Value, bound and steps of the textbook version: one mu a step, no corrector, no Lanczos.

    Newton's step for X S = mu I, steps shortened by a fifth until both Cholesky factorisations run through.
    """
    order = len(cost)
    scale = float(np.abs(cost).max())
    cost = cost / scale
    radii = np.abs(cost).sum(axis=1)
    dual = np.diagonal(cost) - 1.1 * np.maximum(radii, 1e-3 * radii.max())
    point, slack = np.eye(order), cost - np.diag(dual)
    mu = float(np.vdot(point, slack)) / (2.0 * order)
    for step in range(1, 200):  # noqa: B007  (returned after the loop)
        inverse = la.inv(slack)
        inverse = 0.5 * (inverse + inverse.T)
        turn = la.solve(inverse * point, 1.0 - mu * np.diagonal(inverse), assume_a="pos")
        move = (inverse * turn) @ point
        move = mu * inverse - point + 0.5 * (move + move.T)
        primal = _length(point, move)
        ahead = _length(slack, -np.diag(turn))
        point, dual = point + primal * move, dual + ahead * turn
        slack = cost - np.diag(dual)
        gap = float(np.vdot(point, slack))
        mu = gap / (2.0 * order)
        if primal + ahead > 1.8:
            mu *= 0.5
        if gap * scale <= allowed:
            break
    return float(np.vdot(cost, point)) * scale, float(dual.sum()) * scale, step


def _length(matrix: Matrix, move: Matrix) -> float:
    length = 1.0
    while la.lapack.dpotrf(matrix + length * move)[1] != 0:
        length *= 0.8
    return 0.95 * length if length < 1.0 else 1.0


def clarabel_dual(cost: Matrix) -> Callable[[], float]:
    """A solve of max 1^T y, C - Diag(y) PSD, its data assembled: the form with n variables."""
    import clarabel
    import scipy.sparse as sp

    order = len(cost)
    rows, columns = np.triu_indices(order)
    by_column = np.lexsort((rows, columns))
    rows, columns = rows[by_column], columns[by_column]
    size = float(np.abs(cost).max())
    entries = np.where(rows == columns, 1.0, np.sqrt(2.0)) * cost[rows, columns] / size
    diagonal = np.flatnonzero(rows == columns)
    matrix = sp.csc_matrix((np.ones(order), (diagonal, np.arange(order))), shape=(len(rows), order))
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_rel = settings.tol_gap_abs = settings.tol_feas = TOL

    def solve() -> float:
        solver = clarabel.DefaultSolver(
            sp.csc_matrix((order, order)),
            -np.ones(order),
            matrix,
            entries,
            [clarabel.PSDTriangleConeT(order)],
            settings,
        )
        return float(-solver.solve().obj_val) * size

    return solve


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("layers", type=Path)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    facts = machine()
    lines = [
        *heading("The interior point on real layers", facts, facts["processor"], "one thread"),
        f"Processor seconds, medians; relative gap {TOL:g}.",
        "",
        "| problem | order | steps | gap | seconds | naive | steps | x | Clarabel, dual form | x |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for path in sorted(args.layers.glob("*.npz"), key=lambda path: path.stat().st_size):
        for name, cost in problems(path).items():
            lines.append(_row(name, cost))
            print(lines[-1], flush=True)
    text = "\n".join(lines) + "\n"
    print(text)
    if args.output is not None:
        (args.output / f"interior_point_{facts['date'][:10]}.md").write_text(text, encoding="utf-8")


def _row(name: str, cost: Matrix) -> str:
    allowed = TOL * float(np.linalg.norm(cost))
    ours = repeated(lambda _: interior_point(cost, allowed))
    with warnings.catch_warnings():
        # The textbook form solves with ever worse matrices near its end; its gap shows whether that matters.
        warnings.simplefilter("ignore", la.LinAlgWarning)
        textbook = repeated(lambda _: naive(cost, allowed))
    found, seconds = ours.results[0], ours.median().processor
    gap = (found.value - found.bound) / max(abs(found.value), float(np.linalg.norm(cost)))
    slow = textbook.median().processor
    cells = [name, len(cost), found.steps, f"{gap:.1e}", f"{seconds:.3g}"]
    cells += [f"{slow:.3g}", textbook.results[0][2], f"{slow / seconds:.1f}"]
    if len(cost) <= CLARABEL_LARGEST:
        value, timing = once(clarabel_dual(cost))
        agrees = abs(value - found.value) <= 1e-4 * max(abs(found.value), float(np.linalg.norm(cost)))
        note = "" if agrees else f" (value off by {abs(value - found.value):.1e})"
        cells += [f"{timing.processor:.3g}{note}", f"{timing.processor / seconds:.0f}"]
    else:
        cells += ["", ""]
    return "| " + " | ".join(map(str, cells)) + " |"


if __name__ == "__main__":
    main()
