"""What is done at a node: a proved bound, good points, and the pair of signs to branch on."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from solvers.branching.node import Node
from solvers.branching.proof import lost_in_writing
from solvers.cuts.tighten import Proof, Tightener, Tuning, scaled_cost
from solvers.exact.brute_force import brute_force
from solvers.heuristics.local_search import pair_search
from solvers.problems.binary_form import BinaryForm
from solvers.problems.integer_form import merged_weights, next_below
from solvers.problems.problem import BinaryQuadratic

MAX_ROUNDS = 60
# A node is split where as many more rounds as this, each as good as the last, would not end it.  What the root's
# rounds find, all nodes inherit, and two children cost as much as a few rounds.
ROOT_PATIENCE, PATIENCE = 60.0, 4.0
# A forecast of rises that shrink compares those of this many rounds with those of as many before.
SPAN = 3
# A node to be split proves no bound, and passes its parent's on, where that rises by less than this share of what
# it lacks.
RISEN = 0.1
# Rounds after an attempt to prove has failed.
PAUSE = 2
# A bound that decides nothing is proved to this share of what it lacks.
COARSE = 0.1
MAX_POLISHES = 3
# Up to this order all points are visited, unless proofs are kept.
ENUMERATED = 12
ROUNDED = 10


@dataclass(frozen=True, eq=False)
class Task:
    """A node with what a worker needs to bound it.

    Attributes
    ----------
    weights : (N, N) ndarray
        Of the whole problem.
    node : Node
    best : int
        The lowest energy known.
    threshold : float or None
        An energy that a bound must exceed to end the node; None stands for the largest one below ``best`` that
        the node's weights allow.
    deadline : float
        By `time.time`; inf for none.
    record : bool
        Whether to return what proves the bound.
    tuning : Tuning
    """

    weights: NDArray[np.float64]
    node: Node
    best: int
    threshold: float | None
    deadline: float
    record: bool
    tuning: Tuning


class Bounded(NamedTuple):
    """What came of a node.

    ``bound`` is proved; ``finished`` is whether it ends the node.  ``branch`` is the pair of rows to tie, None
    where time ran out first.  ``node`` carries rows, cuts and multipliers for children; ``proof`` is None
    unless it was asked for and the node is finished.
    """

    node: Node
    bound: float
    finished: bool
    branch: tuple[int, int] | None
    point: NDArray[np.int64]
    energy: int
    proof: Proof | None
    rounds: int


def bound_node(task: Task) -> Bounded:
    """Tighten the node's relaxation until it ends the node, or is not going to."""
    node = task.node
    weights, constant = merged_weights(task.weights, node.labels, node.flips)
    threshold = float(next_below(weights, constant, task.best)) if task.threshold is None else task.threshold
    if not np.any(weights):
        point = node.flips.copy()
        return Bounded(node, float(constant), True, None, point, constant, None, 0)
    if node.order <= ENUMERATED and not task.record:
        return _enumerated(node, weights, constant)
    cost, unit = scaled_cost(weights)
    target = math.nextafter((threshold - constant) / unit, math.inf)
    tightener = Tightener(cost, node.factor, node.cuts, node.multipliers, tuning=task.tuning)
    proof = _tighten(tightener, target, task.deadline, (node.bound - constant) / unit)
    bound, finished = node.bound, False
    if proof is not None:
        own = math.nextafter(math.nextafter(proof.bound * unit, -math.inf) + constant, -math.inf)
        bound = max(own, node.bound)
        # a proof that is to be written must end the node by itself, and after it is rounded
        finished = (own - unit * lost_in_writing(proof) if task.record else bound) > threshold
    point, energy = _round(weights, tightener.factor, np.random.default_rng(node.number))
    branch = None if finished or time.time() >= task.deadline else choose_pair(tightener.gram)
    kept = replace(node, factor=tightener.factor, cuts=tightener.cuts, multipliers=tightener.multipliers)
    shown = proof._replace(bound=bound) if task.record and finished and proof is not None else None
    return Bounded(
        kept,
        bound,
        finished,
        branch,
        node.flips * point[node.labels],
        energy + constant,
        shown,
        tightener.rounds,
    )


def _enumerated(node: Node, weights: NDArray[np.float64], constant: int) -> Bounded:
    """The node's optimum by visiting every point: its bound, too, because energies are whole and exact."""
    found = brute_force(BinaryQuadratic(0.5 * weights))
    point, energy = found.point.astype(np.int64), round(found.value) + constant
    return Bounded(node, float(energy), True, None, node.flips * point[node.labels], energy, None, 0)


def _tighten(tightener: Tightener, target: float, deadline: float, known: float) -> Proof | None:
    """A proof, or None where what is known already is hardly improved."""
    estimates = [known]
    pause_until, hoped = 0, target
    while tightener.rounds < MAX_ROUNDS and time.time() < deadline:
        estimates.append(tightener.round())
        if estimates[-1] > hoped and tightener.rounds >= pause_until:
            proof = _attempt(tightener, target, estimates[-1])
            if proof.bound > target:
                return proof
            # what was proved falls short of the estimate: wait until it is as much higher
            hoped = max(hoped, estimates[-1] + 0.5 * (target - proof.bound))
            pause_until = tightener.rounds + PAUSE
        elif _hopeless(estimates, hoped, tightener.started_with_cuts):
            if estimates[-1] - known < RISEN * (target - known):
                return None
            break
    return _attempt(tightener, target, estimates[-1])


def _attempt(tightener: Tightener, target: float, estimate: float) -> Proof:
    """The best of a few proofs, the multipliers more and more exact as long as that promises to decide."""
    best: Proof | None = None
    for sharper in range(MAX_POLISHES):
        polished = max(estimate, tightener.polish(10.0**-sharper))
        # as near to what the multipliers give a bound decides, or is known not to, as well as an exact one
        short = target - polished
        allowed = max(COARSE * short, -0.25 * short, 1e-6 * 10.0**-sharper * abs(polished))
        proof = tightener.prove(allowed, target)
        if best is None or proof.bound > best.bound:
            best = proof
        if best.bound > target or polished < target:
            break
    assert best is not None
    return best


def _hopeless(estimates: list[float], target: float, started_with_cuts: bool) -> bool:
    """Whether the bounds, if they go on as they do, end below the target."""
    earlier = estimates[-3:][0]
    if not math.isfinite(earlier):
        return False
    rise = max(estimates[-1] - estimates[-2], 0.5 * (estimates[-1] - earlier), 0.0)
    patience = PATIENCE if started_with_cuts else ROOT_PATIENCE
    if started_with_cuts and len(estimates) > 2 * SPAN + 1:
        last = estimates[-1] - estimates[-1 - SPAN]
        before = estimates[-1 - SPAN] - estimates[-1 - 2 * SPAN]
        if before > 0 and last < before:
            # the rises shrink by last / before every few rounds: their sum
            patience = min(patience, max(last, 0.0) ** 2 / (before - last) / rise) if rise > 0 else 0.0
    return estimates[-1] + patience * rise < target


def choose_pair(gram: NDArray[np.float64]) -> tuple[int, int]:
    """The pair a < b of rows whose relations to all others are the most decided.

    Those with the least sum over k of (1 - |Y_ak|)^2 (Rendl, Rinaldi and Wiegele 2010, rule R3): tying them
    decides the most about the others, and on dense problems ends nodes sooner than the least decided pair does.
    """
    undecided = ((1.0 - np.abs(gram)) ** 2).sum(axis=1)
    a, b = sorted(np.argsort(undecided, kind="stable")[:2].tolist())
    return a, b


def _round(
    weights: NDArray[np.float64], factor: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.int64], int]:
    """A good point: random hyperplanes, then flips of one sign and of two."""
    signs = np.where(factor @ rng.standard_normal((factor.shape[1], ROUNDED)) >= 0, 1.0, -1.0).T.copy()
    form = BinaryForm(0.5 * weights, np.zeros(weights.shape[0]), 0.0)
    pair_search(form)(signs)
    values = form.evaluate(signs)
    best = int(np.argmin(values))
    return signs[best].astype(np.int64), round(float(values[best]))
