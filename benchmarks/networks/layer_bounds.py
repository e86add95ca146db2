"""How far bounds stay below the error of a binary layer, and what triangles and intervals of scale would close.

    python -m benchmarks.networks.layer_bounds FOLDER --rows 2 --output benchmarks/results --date 2026-11-28

FOLDER holds npz files with weights (J, n) and gram (n, n) of trained layers.  All bounds are shares of the error
that `binary_layer` finds.  For alpha^2 in an interval the relaxation diag(U) = q, U >= u u^T is convex in q, and
its minimum over all q is the joint bound (claim L3): an interval that holds the minimiser closes nothing by itself.
With triangles on the row of u it may: the last bound is the least of these over a grid of scales, which intervals
of any width stay below.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

import vispa
from benchmarks.networks.triangle_bound import tightened
from vispa.quantization.layer_problem import LayerProblem
from vispa.quantization.relaxation import CLOSE, Row, joint_bound, least_image_norm, scale_bound

Array = NDArray[np.float64]

ROUNDS, JOINT_STEPS = 5, 6
GRID = (0.97, 1.0, 1.03)
SAMPLES_A_COLUMN = (0.5, 1, 2, 8, 64, 512)
HEADINGS = (
    "layer, row",
    "condition",
    "error / energy",
    "at the scale",
    "joint",
    "least over scales",
    "triangles, at the scale",
    "triangles, joint",
    "triangles, least of the grid",
    "seconds: joint, triangles at the scale",
)


def layer_rows(folder: Path, rows: int, largest: int) -> Iterator[list[str]]:
    """The bounds of the first rows of every stored layer."""
    for path in sorted(folder.glob("*.npz"), key=lambda path: path.stat().st_size):
        with np.load(path) as archive:
            weights, gram = archive["weights"].astype(float), archive["gram"].astype(float)
        live = np.flatnonzero(np.diagonal(gram) > 0.0)
        if live.size > largest:
            continue
        weights, gram = weights[:rows, live], np.ascontiguousarray(gram[np.ix_(live, live)])
        layer = vispa.binary_layer(weights, gram=gram, workers=1)
        problem, least = LayerProblem.of(weights, gram), least_image_norm(gram)
        values = np.linalg.eigvalsh(gram)
        condition = float(values[-1] / max(values[0], np.finfo(float).eps * values[-1]))
        for index in range(len(weights)):
            row = Row(gram, problem.linear[index], float(problem.energy[index]))
            error, scale = float(layer.error[index]), float(layer.scales[index, 0])
            shares = _bounds(row, layer.signs[index].astype(float), scale, error, least)
            yield [f"{path.stem}, {index}", f"{condition:.0e}", f"{error / row.energy:.5f}", *shares]


def _bounds(row: Row, signs: Array, scale: float, error: float, least: float) -> list[str]:
    rng, columns = np.random.default_rng(0), len(signs)

    def at(factor: float) -> float:
        return scale_bound(row, np.full(columns, factor * scale), error, rng).bound / error

    began = time.process_time()
    joint = joint_bound(row, signs, error, least) / error
    seconds = time.process_time() - began
    # the bound is exact to CLOSE, so that a search for the scale needs no more
    lowest = optimize.minimize_scalar(at, bounds=(0.8, 1.25), method="bounded", options={"xatol": 1e-3}).fun
    began = time.process_time()
    cut = [_cut(row, factor * scale, error) for factor in GRID]
    cut_seconds = (time.process_time() - began) / len(GRID)
    shares = (at(1.0), joint, lowest, cut[GRID.index(1.0)], _cut_joint(row, signs, error, least), min(cut))
    return [*(f"{share:.3f}" for share in shares), f"{seconds:.2f}, {cut_seconds:.0f}"]


def _cut(row: Row, scale: float, error: float) -> float:
    """The bound at a scale with triangles, also on the row of the constant one."""
    cost = np.pad(scale * scale * row.gram, (1, 0))
    cost[0, 1:] = cost[1:, 0] = -scale * row.linear
    return (tightened(cost, CLOSE * error, rounds=ROUNDS).bound + row.energy) / error


def _cut_joint(row: Row, signs: Array, error: float, least: float) -> float:
    """Claim L3's bound with triangles: Dinkelbach's steps over the smaller set."""
    root = float(row.linear @ signs) ** 2 / row.image_norm(signs)
    best, norm = 0.0, row.image_norm(signs)
    for _ in range(JOINT_STEPS):
        cost = root * row.gram - np.outer(row.linear, row.linear)
        found = tightened(cost, CLOSE * error * norm, rounds=ROUNDS)
        best = max(best, (row.energy - root + min(found.bound, 0.0) / least) / error)
        if found.bound >= 0.0:
            break
        norm = float(np.vdot(row.gram, found.point))
        # a little further, so that the last multipliers can prove it
        root = float(row.linear @ found.point @ row.linear) / norm + CLOSE * error
    return best


def regular_rows(columns: int, rows: int) -> Iterator[list[str]]:
    """Gaussian inputs, more and more of them: A nears a multiple of I, and the bound the error."""
    for share in SAMPLES_A_COLUMN:
        rng = np.random.default_rng(0)
        inputs = rng.standard_normal((round(share * columns), columns))
        weights = rng.standard_normal((rows, columns))
        layer = vispa.binary_layer(weights, inputs=inputs, bounds=True, workers=1)
        assert layer.scale_bound is not None
        assert layer.joint_bound is not None
        values = np.linalg.eigvalsh(inputs.T @ inputs)
        condition = values[-1] / values[0] if share >= 1 else np.inf
        total = float(layer.error.sum())
        yield [
            f"{share:g} n", f"{condition:.3g}", f"{layer.relative_error:.4f}",
            f"{float(layer.scale_bound.sum()) / total:.4f}", f"{float(layer.joint_bound.sum()) / total:.4f}",
        ]  # fmt: skip


def _line(cells: list[str] | tuple[str, ...]) -> str:
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("layers", type=Path)
    parser.add_argument("--rows", type=int, default=2)
    parser.add_argument("--largest", type=int, default=64, help="columns of a layer at most")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--date", required=True, help="for the names of the results")
    args = parser.parse_args()
    lines = [
        f"# Bounds of binary layers, {args.date}", "",
        f"Shares of the error that `binary_layer` finds; {ROUNDS} rounds of triangle cuts, scales of the grid "
        f"{', '.join(map(str, GRID))} times the one found.  Processor seconds.", "",
        _line(HEADINGS), "|" + "---|" * len(HEADINGS),
    ]  # fmt: skip
    for cells in layer_rows(args.layers, args.rows, args.largest):
        lines.append(_line(cells))
        print(lines[-1], flush=True)
    lines += [
        "", "Gaussian inputs and weights, n = 48, 8 rows, sums over rows:", "",
        "| samples | condition of A | error / energy | at the scale | joint |", "|" + "---|" * 5,
    ]  # fmt: skip
    for cells in regular_rows(48, 8):
        lines.append(_line(cells))
        print(lines[-1], flush=True)
    if args.output is not None:
        (args.output / f"layer_bounds_{args.date}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
