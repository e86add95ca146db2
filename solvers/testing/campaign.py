"""A search for faults: generated problems, solved, and judged by dense eigenvalues and exact rationals.

Run as ``python -m solvers.testing.campaign --minutes 30``.  The totals are one JSON object on standard output and
a table on standard error; every finding names family, seed and number, from which
`solvers.testing.families.draw` makes its problem again.  The exit status is 1 where anything was false.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import Any, TypeVar

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from numpy.typing import NDArray

from solvers.low_rank import low_rank
from solvers.problems.binary_form import dense_matrix
from solvers.problems.solution import Solution
from solvers.testing.families import FAMILIES, Posed, draw

TotalsT = TypeVar("TotalsT")
# Of max(|value|, |C|_F): disagreement that counts as rounding.
ROUNDING = 1e-9
# Of the tolerance: by how much an estimated bound may exceed what its multipliers prove.
ESTIMATE = 0.02
# Up to this many signs the cube is searched in exact rationals.
EXACT_ORDER = 8
SMALLEST = 2.0**-1074
MAX_SECONDS = 30.0
KEPT = 200


@dataclass
class Totals:
    """What was seen of one family, or of all."""

    problems: int = 0
    false: int = 0
    mismatches: int = 0
    errors: int = 0
    uncertified: int = 0
    worst_gap: float = 0.0
    seconds: float = 0.0


def together(whole: TotalsT, parts: Iterable[TotalsT], *, largest: str) -> TotalsT:
    """Add the numbers of all parts to ``whole``, of one of them the largest, and return it."""
    for part in parts:
        for name in vars(part):
            old, value = getattr(whole, name), getattr(part, name)
            setattr(whole, name, max(old, value) if name == largest else old + value)
    return whole


@dataclass
class Report:
    """Totals by family, and what went wrong."""

    seed: int
    tol: float
    families: dict[str, Totals]
    findings: list[dict[str, Any]] = field(default_factory=list)

    @property
    def whole(self) -> Totals:
        """The totals of all families."""
        return together(Totals(), self.families.values(), largest="worst_gap")

    def as_json(self) -> dict[str, Any]:
        """Plain values for a machine."""
        families = {name: asdict(totals) for name, totals in self.families.items()}
        return {
            "seed": self.seed,
            "tol": self.tol,
            "totals": asdict(self.whole),
            "families": families,
            "findings": self.findings,
        }


def campaign(
    *, seed: int, minutes: float, tol: float = 1e-6, families: Sequence[str] = (), count: int | None = None
) -> Report:
    """Solve problems of all families in turn until the time is up, or ``count`` of each are solved.

    Examples
    --------
    >>> report = campaign(seed=0, minutes=1.0, families=["hamming"], count=3)
    >>> report.whole.problems, report.whole.false
    (3, 0)
    """
    names = list(families) or list(FAMILIES)
    report = Report(seed, tol, {name: Totals() for name in names})
    deadline = time.monotonic() + 60.0 * minutes
    for index in itertools.count() if count is None else range(count):
        for name in names:
            if time.monotonic() >= deadline:
                return report
            _try_one(report, name, index)
    return report


def _try_one(report: Report, family: str, index: int) -> None:
    totals = report.families[family]
    started = time.monotonic()
    rigorous = index % 3 == 0
    totals.problems += 1
    try:
        posed = draw(family, report.seed, index)
        solution = low_rank(
            posed.problem,
            tol=report.tol,
            certificate="rigorous" if rigorous else "estimate",
            rng=index,
            max_seconds=MAX_SECONDS,
        )
        found = list(judge(posed, solution, report.tol))
        totals.worst_gap = max(totals.worst_gap, solution.gap if math.isfinite(solution.gap) else math.inf)
    except Exception as error:  # an exception is a finding, too
        found = [("errors", f"{type(error).__name__}: {error}")]
    totals.seconds += time.monotonic() - started
    for kind in {kind for kind, _ in found}:
        setattr(totals, kind, getattr(totals, kind) + 1)
    if len(report.findings) < KEPT:
        report.findings += [
            {"family": family, "index": index, "kind": kind, "what": what} for kind, what in found
        ]


def judge(posed: Posed, solution: Solution, tol: float) -> Iterator[tuple[str, str]]:
    """What is wrong with a solution, as kinds ("false", "mismatches", "uncertified") and words.

    Everything is recomputed from the problem, the factor and the multipliers, in units of a power of two near the
    largest entry.
    """
    relaxation = posed.problem.relaxation()
    exponent, cost = _in_units(dense_matrix("cost", relaxation.cost, limit=10_000))
    factor = np.asarray(solution.factor, dtype=np.longdouble)
    value = float(np.sum((cost.astype(np.longdouble) @ factor) * factor))
    scale = max(abs(value), float(np.linalg.norm(cost)))
    # the constant, and numbers near the smallest, cost the digits that they cost
    size, constant = cost.shape[0], relaxation.constant
    slack = scale * ROUNDING + math.ldexp(4.0 * (math.ulp(constant) + size * SMALLEST), -exponent)

    def plain(total: float) -> float:
        return math.ldexp(total - constant, -exponent)

    length = float(np.abs(np.linalg.norm(solution.factor, axis=1) - 1.0).max())
    if not length <= ROUNDING:
        yield "mismatches", f"rows have lengths off by {length:.3g}"
    if not abs(plain(solution.value) - value) <= slack:
        yield (
            "mismatches",
            f"value {solution.value!r}, the factor's is {math.ldexp(value, exponent) + constant!r}",
        )
    proved = _proved(cost, np.ldexp(solution.dual, -exponent))
    bound = plain(solution.lower_bound)
    allowed = slack if solution.certificate == "rigorous" else slack + ESTIMATE * tol * scale
    if not bound <= proved + allowed:
        yield (
            "false",
            f"bound exceeds what its multipliers prove by {(bound - proved) / scale:.3g}, relatively",
        )
    if not bound <= value + slack:
        yield "false", f"bound exceeds the value by {(bound - value) / scale:.3g}, relatively"
    rigorous = solution.certificate == "rigorous"
    yield from _against_exact(posed, solution, 0.0 if rigorous else math.ldexp(allowed, exponent))
    if solution.certified and not value - bound <= tol * scale + slack:
        yield "false", f"certified with a gap of {(value - bound) / scale:.3g}"
    if not solution.certified:
        yield "uncertified", f"{solution.status.name} at N = {size}, gap {solution.gap:.3g}"


def _in_units(cost: NDArray[np.float64]) -> tuple[int, NDArray[np.float64]]:
    exponent = int(np.frexp(np.abs(cost).max(initial=0.0))[1])
    return exponent, np.ldexp(cost, -exponent)


def _proved(cost: NDArray[np.float64], dual: NDArray[np.float64]) -> float:
    """1^T y + N lambda_min(C - Diag(y)), by LAPACK, summed over the connected components."""
    slack = cost - np.diag(dual)
    count, component = sp.csgraph.connected_components(sp.csr_array(slack != 0), directed=False)
    total = math.fsum(dual)
    for which in range(count):
        members = np.flatnonzero(component == which)
        smallest = scipy.linalg.eigvalsh(slack[np.ix_(members, members)], subset_by_index=[0, 0])[0]
        total += members.size * min(float(smallest), 0.0)
    return total


def _against_exact(posed: Posed, solution: Solution, allowed: float) -> Iterator[tuple[str, str]]:
    """Compare the bound with the planted optimum, and a proved one with the cube, in rationals."""
    bound = Fraction(solution.lower_bound)
    relaxation = posed.problem.relaxation()
    if posed.optimum is not None:
        optimum = posed.optimum + Fraction(relaxation.constant)
        if bound > optimum + Fraction(allowed):
            yield "false", f"bound {solution.lower_bound!r} exceeds the exact optimum {float(optimum)!r}"
    if solution.certificate == "rigorous" and relaxation.size <= EXACT_ORDER + 1:
        least = _exact_minimum(posed)
        if bound > least:
            yield "false", f"bound {solution.lower_bound!r} exceeds the exact minimum {float(least)!r}"


def _exact_minimum(posed: Posed) -> Fraction:
    """The least value over the cube of the relaxation's stored cost."""
    relaxation = posed.problem.relaxation()
    cost = dense_matrix("cost", relaxation.cost, limit=EXACT_ORDER + 1)
    entries = [[Fraction(entry) for entry in row] for row in cost.tolist()]
    size = len(entries)
    best = min(
        sum(entries[i][j] * w[i] * w[j] for i in range(size) for j in range(size))
        for w in ((1, *rest) for rest in itertools.product((1, -1), repeat=size - 1))
    )
    return best + Fraction(relaxation.constant)


def format_report(report: Report) -> str:
    """A table of the totals, and the first findings."""
    columns = ("problems", "false", "mismatches", "errors", "uncertified")
    lines = [
        f"{'family':18}" + "".join(f"{name:>13}" for name in columns) + f"{'worst gap':>12}{'seconds':>10}"
    ]
    for name, totals in [*report.families.items(), ("all", report.whole)]:
        numbers = "".join(f"{getattr(totals, column):13d}" for column in columns)
        lines.append(f"{name:18}{numbers}{totals.worst_gap:12.2g}{totals.seconds:10.1f}")
    worst = sorted(report.findings, key=lambda found: found["kind"] == "uncertified")
    lines += [
        f"  {found['kind']}: {found['family']} {found['index']}: {found['what']}" for found in worst[:40]
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a campaign from the command line."""
    parser = argparse.ArgumentParser(prog="python -m solvers.testing.campaign", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="how long to go on")
    parser.add_argument("--count", type=int, default=None, help="problems of each family at most")
    parser.add_argument("--seed", type=int, default=0, help="of the problems")
    parser.add_argument("--tol", type=float, default=1e-6, help="relative gap asked for")
    parser.add_argument("--family", action="append", default=[], choices=sorted(FAMILIES), help="only these")
    chosen = parser.parse_args(arguments)
    report = campaign(
        seed=chosen.seed, minutes=chosen.minutes, tol=chosen.tol, families=chosen.family, count=chosen.count
    )
    sys.stderr.write(format_report(report) + "\n")
    sys.stdout.write(json.dumps(report.as_json()) + "\n")
    whole = report.whole
    return int(bool(whole.false or whole.mismatches or whole.errors))


if __name__ == "__main__":
    sys.exit(main())
