"""Bounds beyond Shor's relaxation, by clique inequalities."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from solvers import checks
from solvers.cuts.cliques import LARGEST, SIZES, CliqueCuts, no_cuts
from solvers.cuts.sparse_start import solved_start
from solvers.cuts.tighten import DENSE_PROOFS, Proof, Tightener, scaled_cost, start_factor
from solvers.problems.integer_form import IntegerForm, integer_form
from solvers.problems.problem import Problem, as_problem

MAX_ROUNDS = 60
# Rounds that together raise the estimate by less than a share of what all have raised it, or of it, are the last.
SPAN = 5
STALLED, STILL = 2e-3, 1e-7
# The bound is proved within about this share of the cost's entries of what the multipliers give.
EXACTNESS = 1e-8
# The multipliers are found more and more exactly until the proof loses less than this share of what cuts have won.
LOST = 0.02
MAX_POLISHES = 3
# Of a time limit: what solving Shor's relaxation of a large problem may take, when rounds have to end, and when the
# search for exact multipliers has to.  The rest is for the proof.
STARTED, ENDED, POLISHED = 0.3, 0.6, 0.8


class TighteningMoment(NamedTuple):
    """One round: its number, the estimated bound, the cuts in the relaxation, and seconds."""

    round: int
    estimate: float
    cuts: int
    seconds: float


@dataclass(frozen=True, eq=False)
class Strengthened:
    """A relaxation with clique inequalities, and the bound it proves.

    Attributes
    ----------
    problem : BinaryQuadratic, MaxCut or Elliptope
    factor : (N, k) ndarray
        Unit rows, the homogenising variable first where there is one.
    lower_bound : float
        Proved: no point of the cube is below it, in the minimised sense, constant included.
    cuts : CliqueCuts
        The inequalities behind the bound.
    multipliers, dual : (m,) and (N,) ndarray
        Their multipliers, and those of the unit diagonal, for the objective less its constant.
    rounds : int
    seconds : float
    history : tuple of TighteningMoment
    """

    problem: Problem
    factor: NDArray[np.float64] = field(repr=False)
    lower_bound: float
    cuts: CliqueCuts = field(repr=False)
    multipliers: NDArray[np.float64] = field(repr=False)
    dual: NDArray[np.float64] = field(repr=False)
    rounds: int
    seconds: float
    history: tuple[TighteningMoment, ...] = field(default=(), repr=False)


def strengthen(
    problem: Problem,
    *,
    max_rounds: int = MAX_ROUNDS,
    max_seconds: float | None = None,
    largest_clique: int = LARGEST,
    callback: Callable[[TighteningMoment], None] | None = None,
    rng: np.random.Generator | int | None = None,
) -> Strengthened:
    r"""A proved lower bound from Shor's relaxation and triangle, pentagonal and heptagonal inequalities.

    Rounds minimise an augmented Lagrangian over unit rows, move the multipliers, and exchange cuts.  What is proved
    in the end is :math:`\sum_m g_m r_m` plus the unit-diagonal problem of the cost that the multipliers g leave.

    Parameters
    ----------
    problem : BinaryQuadratic, MaxCut or Elliptope
        With n <= 3,000.  From n = 200 on, rounds of sparse ones touch only the pairs of their edges and cuts.
    max_rounds : int, optional
    max_seconds : float, optional
        Wall-clock limit.  Rounds use about six tenths of it, the proof the rest.  Large sparse problems get Shor's
        bound at least, as far as three tenths suffice for that.
    largest_clique : {3, 5, 7}, optional
        With 3 only triangle inequalities, with 5 pentagonal ones, too.
    callback : callable, optional
        Called with a `TighteningMoment` after each round; raising StopIteration ends the rounds.
    rng : numpy Generator or seed, optional
        Of the rows to start from.

    Returns
    -------
    Strengthened
        KeyboardInterrupt ends the rounds: any multipliers give a bound.

    Raises
    ------
    TypeError, ValueError
        If an argument is not of its kind or out of range.

    Notes
    -----
    A round takes some dozens of products of N x N and N x N/4 matrices, for sparse problems of rows for each pair,
    and O(N^3) to look for triangles.  Up to N = 500 the proof is by a dense interior point, beyond by `low_rank`.

    Examples
    --------
    >>> from solvers import MaxCut
    >>> pentagon = np.roll(np.eye(5), 1, axis=1)
    >>> found = strengthen(MaxCut(pentagon + pentagon.T), rng=0)
    >>> -4.001 < found.lower_bound <= -4.0
    True
    """
    problem = as_problem(problem)
    max_rounds = checks.integer("max_rounds", max_rounds, minimum=0)
    seconds = math.inf if max_seconds is None else checks.scalar("max_seconds", max_seconds, positive=True)
    if not isinstance(largest_clique, int) or largest_clique not in SIZES:
        raise ValueError(f"largest_clique must be 3, 5 or 7; found {largest_clique!r}")
    checks.function("callback", callback)
    generator = checks.generator("rng", rng)
    started = time.perf_counter()
    form = integer_form(problem)
    if not np.any(form.weights):
        empty, factor = np.zeros(0), start_factor(form.order, generator)
        bound = form.bound(0)
        return Strengthened(problem, factor, bound, no_cuts(), empty, np.zeros(form.order), 0, 0.0)
    cost, unit = scaled_cost(form.weights)
    tightener, shor = _started(cost, largest_clique, seconds, generator)
    tightener.deadline = started + ENDED * seconds
    history = _rounds(tightener, form, unit, max_rounds, callback)
    factors = float(form.unit) * unit
    estimates = [(moment.estimate - float(form.constant)) / factors for moment in history] or [-math.inf]
    proof, cuts = _proved(tightener, estimates[0], estimates[-1], started, seconds)
    if shor is not None and shor.bound >= proof.bound:
        proof, cuts = shor, no_cuts()
    # in units of energy the scaling is exact, and what rounding the weights has cost is taken off
    bound = form.bound(Fraction(proof.bound) * Fraction(unit))
    return Strengthened(
        problem,
        tightener.factor,
        bound,
        cuts,
        factors * proof.multipliers,
        factors * proof.dual,
        tightener.rounds,
        time.perf_counter() - started,
        tuple(history),
    )


def _started(
    cost: NDArray[np.float64], largest: int, seconds: float, rng: np.random.Generator
) -> tuple[Tightener, Proof | None]:
    """What rounds work on; of large sparse problems with the proof of Shor's bound."""
    tightener = Tightener(cost, start_factor(len(cost), rng), largest=largest)
    if not tightener.proved_by_sweeps:
        return tightener, None
    tightener.factor, shor = solved_start(cost, STARTED * seconds, rng)
    return tightener, shor


def _proved(
    tightener: Tightener, first: float, last: float, started: float, seconds: float
) -> tuple[Proof, CliqueCuts]:
    """The best of a few proofs, with its cuts; ``first`` and ``last`` are what rounds have estimated."""
    exactness = EXACTNESS * float(np.abs(tightener.cost).sum())
    best, cuts = None, tightener.cuts
    for sharper in range(MAX_POLISHES):
        tightener.deadline = started + POLISHED * seconds
        estimate = tightener.polish(10.0**-sharper)
        late = time.perf_counter() >= tightener.deadline
        tightener.deadline = started + seconds
        proof = tightener.prove(exactness)
        if best is None or proof.bound > best.bound:
            best, cuts = proof, tightener.cuts
        if late or estimate - best.bound <= LOST * (last - first) + exactness:
            break
    assert best is not None
    if best.bound < first and tightener.order <= DENSE_PROOFS:
        # multipliers that rounds have left far from their best can lose to none at all
        plain = Tightener(tightener.cost, tightener.factor).prove(exactness)
        if plain.bound > best.bound:
            return plain, no_cuts()
    return best, cuts


def _rounds(
    tightener: Tightener,
    form: IntegerForm,
    unit: float,
    max_rounds: int,
    callback: Callable[[TighteningMoment], None] | None,
) -> list[TighteningMoment]:
    """Tighten until the rounds are used up, no longer help, or another would hardly end before the deadline."""
    started = before = time.perf_counter()
    history: list[TighteningMoment] = []
    try:
        while len(history) < max_rounds and not _stalled(history, form):
            estimate = form.objective(tightener.round() * unit)
            now = time.perf_counter()
            history.append(TighteningMoment(tightener.rounds, estimate, tightener.cuts.count, now - started))
            if callback is not None:
                callback(history[-1])
            if now + 0.5 * (now - before) >= tightener.deadline:
                break
            before = now
    except (StopIteration, KeyboardInterrupt):
        pass
    return history


def _stalled(history: list[TighteningMoment], form: IntegerForm) -> bool:
    """Whether the last rounds have hardly raised the estimate."""
    if len(history) < 3 * SPAN:
        return False
    now, before = history[-1].estimate, history[-1 - SPAN].estimate
    return now - before <= max(STALLED * (now - history[0].estimate), STILL * abs(now - float(form.constant)))
