"""The tree of a search: open nodes by their bounds, what came of the others, and the best point."""

from __future__ import annotations

import heapq
import logging
import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from solvers.branching.bounding import Bounded, Task
from solvers.branching.node import Node, child_node
from solvers.branching.records import Leaf, TreeMoment, TreeNode
from solvers.cuts.tighten import Tuning
from solvers.problems.integer_form import IntegerForm

_log = logging.getLogger(__name__)


class Tree:
    """State of a search between nodes.

    Parameters
    ----------
    form : IntegerForm
    root : Node
    point : (N,) int64 ndarray
        The best point so far.
    gap : float
        The relative gap that was asked for.
    allowed : float
        By how much the best energy may exceed the bound at the end; 0 for exact data and no gap.
    record : bool
        Whether to keep the proofs of finished nodes.

    Notes
    -----
    An interrupt may come between any two statements.  So no moment is without a node that is not bounded yet, and
    what came of one is taken in again from the start where that was broken off.
    """

    def __init__(
        self,
        form: IntegerForm,
        root: Node,
        point: NDArray[np.int64],
        *,
        gap: float,
        allowed: float,
        record: bool,
    ) -> None:
        self.form, self.gap, self.allowed, self.record = form, gap, allowed, record
        self.point, self.best = point, form.energy(point)
        self.open: list[tuple[float, int, Node]] = []
        self.bounded: list[TreeNode] = []
        self.history: list[TreeMoment] = []
        self.pending: dict[int, Node] = {}
        self.made = 1
        self._taking: _Taking | None = None
        self.push(root)

    @property
    def threshold(self) -> float | None:
        """An energy that a bound must exceed to end a node; None where the steps between energies decide."""
        return None if self.allowed == 0.0 else self.best - self.allowed

    @property
    def lower_bound(self) -> float:
        """No energy is below this; proved."""
        waiting = [bound for bound, _, _ in self.open] + [node.bound for node in self.pending.values()]
        ended = [node.bound for node in self.bounded if node.finished]
        lowest = min([*waiting, *ended], default=math.inf)
        if self.form.exact and math.isfinite(lowest):
            lowest = float(math.ceil(lowest))
        # a finished node's bound exceeds every energy below the best one
        if self.allowed == 0.0 and not waiting:
            lowest = float(self.best)
        return min(lowest, float(self.best))

    def push(self, node: Node) -> None:
        """Take a node in."""
        heapq.heappush(self.open, (node.bound, node.number, node))

    def next_task(self, deadline: float, tuning: Tuning) -> Task:
        """The open node of the lowest bound, now pending."""
        node = self.open[0][2]
        self.pending[node.number] = node
        heapq.heappop(self.open)
        return Task(self.form.weights, node, self.best, self.threshold, deadline, self.record, tuning)

    def waiting(self) -> list[Node]:
        """The nodes that are not bounded yet, open ones by their bounds and then pending ones, each once."""
        pending = [self.pending[number] for number in sorted(self.pending)]
        ordered = sorted(self.open, key=lambda entry: entry[:2])
        return [*(node for _, number, node in ordered if number not in self.pending), *pending]

    def give_back(self) -> None:
        """Open the pending nodes again, as they were, once what was being taken in has been."""
        if self._taking is not None:
            self._apply(self._taking)
        self.open = [(node.bound, node.number, node) for node in self.waiting()]
        heapq.heapify(self.open)
        self.pending.clear()

    def take(self, outcome: Bounded, seconds: float) -> TreeMoment:
        """Add what came of a pending node."""
        node = self.pending[outcome.node.number]
        self._taking = _Taking(node, outcome, seconds, len(self.bounded), len(self.history), self.made)
        return self._apply(self._taking)

    def _apply(self, taking: _Taking) -> TreeMoment:
        """Take the outcome in; once more does no harm, wherever the first time was broken off."""
        node, outcome, seconds = taking.node, taking.outcome, taking.seconds
        del self.bounded[taking.bounded :], self.history[taking.moments :]
        energy = self.form.energy(self.point)
        if outcome.energy < energy:
            self.point = outcome.point
            _log.info("node %d finds a point of value %.9g", node.number, self.form.objective(outcome.energy))
        self.best = min(energy, outcome.energy)
        if not outcome.finished and outcome.branch is None:
            # time ran out: the node starts anew another time, with what was proved
            self._push_once([_with_bound(node, outcome.bound)])
        else:
            leaf = None if outcome.proof is None else Leaf(outcome.node.cuts, outcome.proof)
            children = [] if outcome.branch is None else _children(outcome, outcome.branch, taking.made)
            self._push_once(children)
            self.made = taking.made + len(children)
            self.bounded.append(
                TreeNode(node.number, node.parent, node.pair, outcome.bound, outcome.finished, leaf)
            )
        self.pending.pop(node.number, None)
        moment = TreeMoment(
            len(self.bounded),
            len(self.open) + len(self.pending),
            self.form.objective(self.best),
            self.objective_bound(),
            seconds,
        )
        self.history.append(moment)
        self._taking = None
        _log.debug(
            "%d nodes bounded, %d open: value %.9g, bound %.9g", moment.nodes, moment.open_nodes,
            moment.value, moment.lower_bound,
        )  # fmt: skip
        return moment

    def objective_bound(self) -> float:
        """The bound on the objective, -inf where there is none."""
        bound = self.lower_bound
        return self.form.bound(bound) if math.isfinite(bound) else bound

    def _push_once(self, nodes: list[Node]) -> None:
        known = {number for _, number, _ in self.open}
        for node in nodes:
            if node.number not in known:
                self.push(node)


class _Taking(NamedTuple):
    """An outcome that is being taken in, and what the tree held before."""

    node: Node
    outcome: Bounded
    seconds: float
    bounded: int
    moments: int
    made: int


def _children(outcome: Bounded, branch: tuple[int, int], made: int) -> list[Node]:
    return [
        child_node(outcome.node, *branch, relation, made + index, outcome.bound)
        for index, relation in enumerate((1, -1))
    ]


def _with_bound(node: Node, bound: float) -> Node:
    return replace(node, bound=max(node.bound, bound))
