"""Costs X^T S X kept as X, against forming the matrix and against an operator that applies it.

    python -m benchmarks.sdp.factored --output benchmarks/results

Problems: the signs that best separate handwritten digits (maximise |X w|^2, X the centred images as columns), the
same on random X, and least squares |X w - t|^2 with a target out of reach, where t is much longer than any X w that
signs reach.  Every way solves the same problem to the same certified gap; forming the matrix is part of its time,
memory is what NumPy allocated at the peak beyond X itself.
"""

from __future__ import annotations

import argparse
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse.linalg import aslinearoperator

from benchmarks.record import heading, machine
from benchmarks.sdp.clock import Timed, repeated
from solvers import BinaryQuadratic, Gram, Solution, low_rank

# A formed matrix above this order takes gigabytes.
MAX_FORMED = 8000
MAX_SECONDS = 60.0


@dataclass(frozen=True)
class Case:
    """X, its sign, and a target where there is one."""

    name: str
    X: Any
    sign: float
    target: Any = None

    def kept(self) -> BinaryQuadratic:
        """X as it is."""
        if self.target is not None:
            return BinaryQuadratic.least_squares(self.X, self.target)
        return BinaryQuadratic(Gram(self.X, np.full(self.X.shape[0], self.sign)))

    def other(self, matrix: Callable[[Any], Any]) -> BinaryQuadratic:
        """The same problem with A in another form."""
        A = self.sign * matrix(self.X)
        if self.target is None:
            return BinaryQuadratic(A)
        return BinaryQuadratic(A, -2.0 * self.X.T @ self.target, float(self.target @ self.target))


@dataclass(frozen=True)
class Measured:
    """One way on one case."""

    seconds: float
    megabytes: float
    gap: float
    value: float
    status: str


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, help="folder for the table")
    parser.add_argument("--largest", type=int, default=5000, help="largest n (default 5000)")
    parser.add_argument("--note", default="", help="a sentence about the machine's state")
    arguments = parser.parse_args()
    low_rank(Case("compile", np.ones((2, 9)), -1.0).kept(), rng=0)
    low_rank(Case("compile", np.ones((2, 9)), 1.0, np.ones(2)).kept(), rng=0)
    rows = []
    for case in cases(arguments.largest):
        rows.append((case, compare(case)))
        print(row(*rows[-1]), flush=True)
    text = table(rows, arguments.note)
    if arguments.output is not None:
        day = datetime.now(UTC).date().isoformat()
        (arguments.output / f"factored_{day}.md").write_text(text)


def cases(largest: int) -> list[Case]:
    from sklearn.datasets import load_digits

    images = load_digits().data
    made = [Case("digits, separated", (images - images.mean(axis=0)).T, -1.0)]
    for n, m in ((1000, 50), (2000, 200), (5000, 250), (20_000, 200)):
        if n <= largest:
            rng = np.random.default_rng(n)
            X = rng.standard_normal((m, n))
            made.append(Case("random, separated", X, -1.0))
            made.append(Case("least squares", X, 1.0, n * rng.standard_normal(m)))
    return made


def compare(case: Case) -> dict[str, Measured | None]:
    """Ours first; the others only where they fit."""
    n = case.X.shape[1]
    operator = aslinearoperator(case.X)
    return {
        "kept": measure(case.kept),
        "formed": measure(lambda: case.other(lambda X: X.T @ X)) if n <= MAX_FORMED else None,
        "operator": measure(lambda: case.other(lambda _: operator.T @ operator)),
    }


def measure(make: Callable[[], BinaryQuadratic]) -> Measured:
    def solve(seed: int) -> Solution:
        return low_rank(make(), rng=seed, max_seconds=MAX_SECONDS)

    timed: Timed[Solution] = repeated(solve)
    tracemalloc.start()
    solution = solve(0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return Measured(
        timed.median().processor, peak / 1e6, solution.gap, solution.value, solution.status.name.lower()
    )


def row(case: Case, ways: dict[str, Measured | None]) -> str:
    cells = [case.name, f"{case.X.shape[1]}", f"{case.X.shape[0]}", f"{case.X.nbytes / 1e6:.3g}"]
    kept = ways["kept"]
    assert kept is not None
    for name in ("kept", "formed", "operator"):
        way = ways[name]
        if way is None:
            cells += ["—", "—"]
            continue
        mark = "" if way.status == "certified" else f" ({way.status})"
        cells += [f"{way.seconds:.3g}{mark}", f"{way.megabytes:.3g}"]
    for name in ("formed", "operator"):
        way = ways[name]
        cells.append("—" if way is None else f"{way.seconds / kept.seconds:.3g}")
    return "| " + " | ".join(cells) + " |"


def table(rows: list[tuple[Case, dict[str, Measured | None]]], note: str) -> str:
    facts = {**machine(), "remark": note}
    lines = [
        *heading("Factored costs", facts, facts["processor"]),
        "Seconds of processor time on one thread, medians, to a certified relative gap of 1e-6; megabytes",
        "allocated at the peak beyond X. The last two columns: time of that way over that of the factored cost.",
        "",
        "| problem | n | m | X MB | kept s | MB | formed s | MB | operator s | MB | formed/kept | operator/kept |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
        *(row(*entry) for entry in rows),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
