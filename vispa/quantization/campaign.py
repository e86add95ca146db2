"""A search for faults in binary layers: drawn layers of up to 16 columns, judged by enumeration of all their signs.

Run as ``python -m vispa.quantization.campaign --count 10000``.  The totals are one JSON object on standard output
and a table on standard error; every finding names kind, seed and number, from which `draw` makes its layer again.
The exit status is 1 where anything was false.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from solvers.testing.campaign import together
from vispa.quantization.binary_layer import binary_layer
from vispa.quantization.layer_problem import LayerProblem, Matrix
from vispa.quantization.result import BinaryLayer
from vispa.quantization.rivals import sgn
from vispa.quantization.scales import group_borders

MAX_COLUMNS = 16
ROWS = 2
# Of a row's energy, and of |w|^T |X|^T |X| |w|, w the larger of weights before and after, which is what X^T X is
# rounded to where outputs cancel: disagreement that counts as rounding.
ROUNDING, CANCELLED = 1e-12, 4e-15
# Of the least error: an error above it by more is not the least.
SAME = 1e-6
# Of a row's energy: smaller errors are too near rounding to be divided by.
MEASURED = 1e-9
KEPT = 100
KINDS = (
    "plain", "dead", "all dead", "collinear", "huge", "tiny", "graded", "few samples", "orthogonal", "integer",
    "zero weights", "binary already",
)  # fmt: skip


class Drawn(NamedTuple):
    """Weights (J, n), inputs (m, n), and columns that share a scale, or None."""

    weights: Matrix
    inputs: Matrix
    group: int | None


@dataclass
class Totals:
    """What was seen of one kind of layer, or of all; the largest bound as a share of the least error."""

    layers: int = 0
    rows: int = 0
    rows_of_one_scale: int = 0
    least_reached: int = 0
    false_scale_bounds: int = 0
    false_joint_bounds: int = 0
    above_sgn: int = 0
    mismatches: int = 0
    errors: int = 0
    largest_bound: float = 0.0
    seconds: float = 0.0


@dataclass
class Report:
    """Totals by kind, and what went wrong."""

    seed: int
    kinds: dict[str, Totals] = field(default_factory=dict)
    findings: list[dict[str, Any]] = field(default_factory=list)

    @property
    def whole(self) -> Totals:
        """Totals over all kinds."""
        return together(Totals(), self.kinds.values(), largest="largest_bound")

    @property
    def faults(self) -> int:
        """Everything that is false."""
        whole = self.whole
        return (
            whole.false_scale_bounds
            + whole.false_joint_bounds
            + whole.above_sgn
            + whole.mismatches
            + whole.errors
        )


def draw(kind: str, seed: int, number: int) -> Drawn:
    """The layer of this kind, seed and number."""
    rng = np.random.default_rng([seed, number, KINDS.index(kind)])
    columns = int(rng.integers(1, MAX_COLUMNS + 1))
    samples = int(rng.integers(1, 3 * columns + 1))
    inputs = np.maximum(rng.standard_normal((samples, columns)) + 0.3, 0.0)
    weights = rng.standard_normal((ROWS, columns))
    if kind == "dead":
        inputs[:, rng.random(columns) < 0.5] = 0.0
    elif kind == "all dead":
        inputs[:] = 0.0
    elif kind == "collinear":
        inputs[:, rng.integers(columns)] = 2.0 * inputs[:, rng.integers(columns)]
        inputs[:, rng.integers(columns)] = -inputs[:, 0]
    elif kind in ("huge", "tiny"):
        power = float(rng.integers(1, 70)) * (1.0 if kind == "huge" else -1.0)
        inputs, weights = inputs * 10.0**power, weights * 10.0 ** float(rng.integers(-20, 20))
    elif kind == "graded":
        inputs *= 10.0 ** rng.uniform(-6, 0, columns)
    elif kind == "few samples":
        inputs = rng.standard_normal((int(rng.integers(1, max(columns // 2, 1) + 1)), columns))
    elif kind == "orthogonal":
        inputs = np.diag(10.0 ** rng.uniform(-3, 3, columns))
    elif kind == "integer":
        inputs, weights = np.round(2.0 * inputs), np.round(2.0 * weights)
    elif kind == "zero weights":
        weights[rng.random(weights.shape) < 0.6] = 0.0
    elif kind == "binary already":
        weights = rng.choice([-1.0, 1.0], weights.shape) * rng.uniform(0.1, 10.0, (ROWS, 1))
    group = int(rng.integers(1, columns + 1)) if rng.random() < 0.25 else None
    return Drawn(weights, inputs, group)


@cache
def cube(columns: int) -> Matrix:
    """(n, 2^n), every vector of signs."""
    return np.array(list(itertools.product([1.0, -1.0], repeat=columns))).T.copy()


def least_at(inputs: Matrix, weights: NDArray[np.float64], scales: NDArray[np.float64]) -> float:
    """The least |X (scales o s - w)|^2 over all signs."""
    away = (inputs * scales) @ cube(inputs.shape[1])
    away -= (inputs @ weights)[:, None]
    return float(np.einsum("ij,ij->j", away, away).min())


def least_over_scales(inputs: Matrix, weights: NDArray[np.float64]) -> float:
    """The least |X (scale s - w)|^2 over all signs and scales."""
    images, target = inputs @ cube(inputs.shape[1]), inputs @ weights
    norms = np.einsum("ij,ij->j", images, images)
    scales = np.divide(target @ images, norms, out=np.zeros_like(norms), where=norms > 0.0)
    images *= scales
    images -= target[:, None]
    return float(np.einsum("ij,ij->j", images, images).min())


def judge(drawn: Drawn, layer: BinaryLayer, totals: Totals) -> Iterator[tuple[str, str]]:
    """Faults of a layer found with bounds, counted into the totals and told one by one."""
    weights, inputs = drawn.weights, drawn.inputs
    problem = LayerProblem.of(weights, inputs.T @ inputs)
    plain = sgn(problem, group_borders(weights.shape[1], drawn.group))
    columns = np.abs(layer.weight)
    assert layer.scale_bound is not None
    for row, energy in enumerate(layer.energy):
        sizes = np.maximum(np.abs(weights[row]), columns[row])
        uncancelled = float(np.sum((np.abs(inputs) @ sizes) ** 2))
        allowed = ROUNDING * float(energy) + CANCELLED * uncancelled
        direct = float(np.sum((inputs @ (layer.weight[row] - weights[row])) ** 2))
        error, bound = float(layer.error[row]), float(layer.scale_bound[row])
        totals.rows += 1
        if not abs(error - direct) <= allowed + 1e-6 * direct:
            totals.mismatches += 1
            yield "mismatch", f"row {row}: error {error!r} is {direct!r}"
        if not error <= float(plain.error[row]) + allowed:
            totals.above_sgn += 1
            yield "above sgn", f"row {row}: error {error!r}, sgn's {float(plain.error[row])!r}"
        least = least_at(inputs, weights[row], columns[row])
        if not _holds(bound, least, float(energy), allowed, totals):
            totals.false_scale_bounds += 1
            yield "false", f"row {row}: bound at the scale {bound!r}, least error {least!r}"
        if layer.joint_bound is None:
            continue
        bound, least = float(layer.joint_bound[row]), least_over_scales(inputs, weights[row])
        totals.rows_of_one_scale += 1
        totals.least_reached += int(error <= least * (1.0 + SAME) + allowed)
        if not _holds(bound, least, float(energy), allowed, totals):
            totals.false_joint_bounds += 1
            yield "false", f"row {row}: joint bound {bound!r}, least error {least!r}"


def _holds(bound: float, least: float, energy: float, allowed: float, totals: Totals) -> bool:
    """Whether a bound is one, but for rounding."""
    if least > MEASURED * energy:
        totals.largest_bound = max(totals.largest_bound, bound / least)
    return 0.0 <= bound <= least + allowed


def campaign(
    *, seed: int = 0, count: int = 10_000, minutes: float = np.inf, kinds: Sequence[str] = KINDS
) -> Report:
    """Draw, make binary and judge so many layers, the kinds in turn, or what the time allows."""
    report = Report(seed, {kind: Totals() for kind in kinds})
    deadline = time.monotonic() + 60.0 * minutes
    for number in range(count):
        if time.monotonic() > deadline:
            break
        kind = kinds[number % len(kinds)]
        totals, began = report.kinds[kind], time.process_time()
        drawn = draw(kind, seed, number)
        totals.layers += 1
        try:
            layer = binary_layer(
                drawn.weights, inputs=drawn.inputs, group=drawn.group, bounds=True, workers=1, rng=number
            )
            found = list(judge(drawn, layer, totals))
        except Exception as error:
            totals.errors += 1
            found = [("error", f"{type(error).__name__}: {error}")]
        totals.seconds += time.process_time() - began
        for what, text in found[: KEPT - len(report.findings)]:
            report.findings.append({"kind": kind, "number": number, "what": what, "text": text})
    return report


def format_report(report: Report) -> str:
    """A table of the totals, and the first findings."""
    names = list(asdict(Totals()))
    lines = [f"{'kind':16}" + "".join(f"{name.replace('_', ' '):>20}" for name in names)]
    for kind, totals in [*report.kinds.items(), ("all", report.whole)]:
        lines.append(f"{kind:16}" + "".join(f"{value:20.6g}" for value in asdict(totals).values()))
    lines += [
        f"  {each['what']}: {each['kind']} {each['number']}: {each['text']}" for each in report.findings
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a campaign from the command line."""
    parser = argparse.ArgumentParser(prog="python -m vispa.quantization.campaign", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="layers")
    parser.add_argument("--minutes", type=float, default=np.inf, help="how long to go on at most")
    parser.add_argument("--seed", type=int, default=0, help="of the layers")
    parser.add_argument("--kind", action="append", default=[], choices=KINDS, help="only these")
    chosen = parser.parse_args(arguments)
    report = campaign(
        seed=chosen.seed, count=chosen.count, minutes=chosen.minutes, kinds=chosen.kind or KINDS
    )
    sys.stderr.write(format_report(report) + "\n")
    kinds = {kind: asdict(totals) for kind, totals in report.kinds.items()}
    content = {
        "seed": report.seed,
        "all": asdict(report.whole),
        "kinds": kinds,
        "findings": report.findings,
    }
    sys.stdout.write(json.dumps(content, default=float) + "\n")
    return int(report.faults > 0)


if __name__ == "__main__":
    sys.exit(main())
