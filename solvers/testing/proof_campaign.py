"""A search for false proofs: small problems through branch and bound, judged by enumeration and in exact rationals.

Run as ``python -m solvers.testing.proof_campaign --count 1000``, which takes so many of each family.  Nodes are
bounded, not enumerated, every other problem so loosely that it branches, and proofs of whole data are checked by
`solvers.check_proof`.  Totals and exit status are those of `solvers.testing.campaign`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from unittest import mock

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from solvers import check_proof
from solvers.branching import bounding
from solvers.branching.branch_and_bound import REAL_GAP, branch_and_bound
from solvers.branching.result import ProvedSolution
from solvers.problems.binary_form import BinaryForm, binary_form, dense_matrix
from solvers.problems.integer_form import integer_form
from solvers.problems.problem import BinaryQuadratic, Elliptope, MaxCut, Problem
from solvers.testing.campaign import KEPT, Report, Totals, format_report

Matrix = NDArray[np.float64]

MOST_SIGNS = 16
# Rounds of a node that is to be bounded loosely.
FEW_ROUNDS = 2
# Of max(|value|, |C|_F): what rounding takes from the values of data that are not whole.
ROUNDING = 1e-9


def _symmetric(values: Matrix) -> Matrix:
    return np.triu(values) + np.triu(values, 1).T


def _either(rng: np.random.Generator, matrix: Matrix, b: Matrix) -> Problem:
    """Dense or sparse, with a linear term or without."""
    stored = sp.csr_array(matrix) if rng.random() < 0.3 else matrix
    return BinaryQuadratic(stored, b if rng.random() < 0.5 else None)


def _whole(rng: np.random.Generator, n: int) -> Problem:
    """Whole numbers of up to six digits, times a factor."""
    largest, factor = 10 ** int(rng.integers(1, 7)), rng.choice([1.0, 0.375, 2.0**30])
    matrix = rng.integers(-largest, largest + 1, (n, n)).astype(np.float64)
    return _either(rng, factor * _symmetric(matrix), factor * rng.integers(-largest, largest + 1, n))


def _real(rng: np.random.Generator, n: int) -> Problem:
    """Normal data."""
    return _either(rng, _symmetric(rng.standard_normal((n, n))), rng.standard_normal(n))


def _ties(rng: np.random.Generator, n: int) -> Problem:
    """Couplings of one size, all or some of them: many optima."""
    present = rng.random((n, n)) < rng.choice([0.5, 1.0])
    signs = rng.choice([-1.0, 1.0], (n, n)) if rng.random() < 0.7 else np.ones((n, n))
    graph = np.triu(signs * present, 1)
    return MaxCut(graph + graph.T) if rng.random() < 0.5 else _either(rng, graph + graph.T, np.ones(n))


def _partition(rng: np.random.Generator, n: int) -> Problem:
    """X x^T with whole x: the sets of nearly equal sums are many."""
    x = rng.integers(1, 30, n).astype(np.float64)
    return BinaryQuadratic(np.multiply.outer(x, x))


def _tiny(rng: np.random.Generator, n: int) -> Problem:
    """Near the smallest numbers there are, whole or not."""
    values = rng.integers(-9, 10, (n, n)) if rng.random() < 0.5 else 1e3 * rng.standard_normal((n, n))
    return BinaryQuadratic(np.ldexp(_symmetric(values.astype(np.float64)), int(rng.integers(-1070, -900))))


def _huge(rng: np.random.Generator, n: int) -> Problem:
    """Within a few digits of overflow."""
    return _either(rng, _symmetric(rng.standard_normal((n, n))) * 1e295, rng.standard_normal(n) * 1e295)


def _graded(rng: np.random.Generator, n: int) -> Problem:
    """Entries over many decades."""
    scale = 10.0 ** rng.uniform(-4.0, 4.0, n)
    return _either(rng, _symmetric(rng.standard_normal((n, n))) * np.multiply.outer(scale, scale), scale)


def _sparse(rng: np.random.Generator, n: int) -> Problem:
    """A few edges, some vertices without any; graphs and homogenised forms."""
    graph = np.triu(rng.integers(-3, 4, (n, n)) * (rng.random((n, n)) < 2.0 / n), 1).astype(np.float64)
    if rng.random() < 0.5:
        return MaxCut(sp.csr_array(graph + graph.T))
    return Elliptope(sp.csr_array(graph + graph.T), homogenised=True)


def _nothing(rng: np.random.Generator, n: int) -> Problem:
    """All zero, or a diagonal alone, which no sign changes."""
    diagonal = rng.standard_normal(n) * (rng.random() < 0.5)
    return BinaryQuadratic(np.diag(diagonal), constant=float(rng.integers(-3, 4)))


FAMILIES: dict[str, Callable[[np.random.Generator, int], Problem]] = {
    "whole": _whole,
    "real": _real,
    "ties": _ties,
    "partition": _partition,
    "tiny": _tiny,
    "huge": _huge,
    "graded": _graded,
    "sparse": _sparse,
    "nothing": _nothing,
}


def draw(family: str, seed: int, index: int) -> Problem:
    """The problem of a family with this seed and number, of 1 to 16 signs.

    Examples
    --------
    >>> draw("ties", 0, 1).n == draw("ties", 0, 1).n
    True
    """
    rng = np.random.default_rng([seed, index, *family.encode()])
    return FAMILIES[family](rng, int(rng.integers(1, MOST_SIGNS + 1)))


def proof_campaign(*, seed: int, count: int, families: Sequence[str] = ()) -> Report:
    """Prove ``count`` problems of each family and judge what comes back.

    Examples
    --------
    >>> report = proof_campaign(seed=0, count=2, families=["ties"])
    >>> report.whole.problems, report.whole.false
    (2, 0)
    """
    names = list(families) or list(FAMILIES)
    report = Report(seed, REAL_GAP, {name: Totals() for name in names})
    for name in names:
        for index in range(count):
            _try_one(report, name, index)
    return report


def _try_one(report: Report, family: str, index: int) -> None:
    totals, started = report.families[family], time.monotonic()
    totals.problems += 1
    try:
        problem = draw(family, report.seed, index)
        rounds = FEW_ROUNDS if index % 2 else bounding.MAX_ROUNDS
        with mock.patch.object(bounding, "MAX_ROUNDS", rounds):
            solution = branch_and_bound(problem, proof=True, rng=index)
        found = list(judge(problem, solution))
        totals.worst_gap = max(totals.worst_gap, solution.gap)
    except Exception as error:  # an exception is a finding, too
        found = [("errors", f"{type(error).__name__}: {error}")]
    totals.seconds += time.monotonic() - started
    for kind in {kind for kind, _ in found}:
        setattr(totals, kind, getattr(totals, kind) + 1)
    report.findings += [
        {"family": family, "index": index, "kind": kind, "what": what} for kind, what in found
    ][: KEPT - len(report.findings)]


def judge(problem: Problem, solution: ProvedSolution) -> Iterator[tuple[str, str]]:
    """What is wrong with a solution, as kinds ("false", "mismatches", "uncertified") and words."""
    form = binary_form(problem)
    A = dense_matrix("problem", form.A, limit=MOST_SIGNS)
    least = exact_value(A, form, best_signs(A, form))
    own = exact_value(A, form, solution.signs)
    value, bound = Fraction(solution.value), Fraction(solution.lower_bound)
    whole = integer_form(problem).exact
    scale = Fraction(max(abs(solution.value - form.constant), 2.0 * float(np.abs(A).max(initial=0.0))))
    slack = Fraction(ROUNDING) * scale
    if abs(value - own) > (Fraction(_ulp(solution.value)) if whole else slack):
        yield "mismatches", f"value {solution.value!r}, the point's is {float(own)!r}"
    if bound > least:
        yield "false", f"bound {solution.lower_bound!r} exceeds the minimum {float(least)!r}"
    if not solution.optimal:
        yield (
            "uncertified",
            f"{solution.status.name} with {len(solution.signs)} signs, gap {solution.gap:.3g}",
        )
        return
    # the exact data's optimum is the point's own; other data's is within the stated gap
    allowed = Fraction(0) if whole else Fraction(solution.gap) * _norm(problem, solution) + slack
    if own - least > allowed:
        yield "false", f"optimal at {float(own)!r}, the minimum is {float(least)!r}"
    if solution.gap > (0.0 if whole else 2.0 * REAL_GAP):
        yield "false", f"optimal with a gap of {solution.gap:.3g}"
    if whole:
        yield from _against_proof(solution)


def _ulp(value: float) -> float:
    """What one rounding of a rational to a float can cost."""
    return float(np.spacing(abs(value)))


def _norm(problem: Problem, solution: ProvedSolution) -> Fraction:
    """By what the gap was divided, or more."""
    cost = dense_matrix("cost", problem.relaxation().unit().cost, limit=MOST_SIGNS + 1)
    largest = float(np.abs(cost).max(initial=0.0))
    constant = float(problem.relaxation().constant)
    return max(Fraction(abs(solution.value - constant)), Fraction(largest) * cost.shape[0])


def _against_proof(solution: ProvedSolution) -> Iterator[tuple[str, str]]:
    """Whether the written proof convinces the checker."""
    assert solution.form is not None
    W = [[int(entry) for entry in row] for row in solution.form.weights.tolist()]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "proof.json"
        solution.write_proof(path)
        proof = json.loads(path.read_text(encoding="utf-8"))
    best = check_proof.energy(W, proof["signs"])
    try:
        check_proof.check_tree(W, proof["tree"], [[(v, 1)] for v in range(len(W))], best)
    except check_proof.NotProved as reason:
        yield "false", f"the proof is refused: {reason}"


def best_signs(A: Matrix, form: BinaryForm) -> NDArray[np.int8]:
    """The least point of the cube by floating-point enumeration, which is exact for whole data of 53 bits."""
    exponent = int(np.frexp(max(np.abs(A).max(initial=0.0), np.abs(form.b).max(initial=0.0)))[1])
    points = _cube(form.n)
    cost, linear = np.ldexp(A, -exponent), np.ldexp(form.b, -exponent)
    values = ((points @ cost) * points).sum(axis=1) + points @ linear
    return np.asarray(points[int(np.argmin(values))], dtype=np.int8)


@cache
def _cube(n: int) -> Matrix:
    bits = np.arange(2**n)[:, None] >> np.arange(n) & 1
    return np.asarray(2.0 * bits - 1.0)


def exact_value(A: Matrix, form: BinaryForm, signs: NDArray[np.int8]) -> Fraction:
    """The objective at a point, in rationals."""
    s = [int(sign) for sign in signs]
    rows = [[Fraction(entry) for entry in row] for row in A.tolist()]
    total = sum((Fraction(entry) * sign for entry, sign in zip(form.b.tolist(), s, strict=True)), Fraction(0))
    for row, sign in zip(rows, s, strict=True):
        total += sign * sum((entry * other for entry, other in zip(row, s, strict=True)), Fraction(0))
    return total + Fraction(form.constant)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a campaign from the command line."""
    parser = argparse.ArgumentParser(prog="python -m solvers.testing.proof_campaign", description=__doc__)
    parser.add_argument("--count", type=int, default=50, help="problems of each family")
    parser.add_argument("--seed", type=int, default=0, help="of the problems")
    parser.add_argument("--family", action="append", default=[], choices=sorted(FAMILIES), help="only these")
    chosen = parser.parse_args(arguments)
    report = proof_campaign(seed=chosen.seed, count=chosen.count, families=chosen.family)
    sys.stderr.write(format_report(report) + "\n")
    sys.stdout.write(json.dumps(report.as_json()) + "\n")
    whole = report.whole
    return int(bool(whole.false or whole.mismatches or whole.errors or whole.uncertified))


if __name__ == "__main__":
    sys.exit(main())
