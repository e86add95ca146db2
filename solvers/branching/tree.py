"""The tree of a search: open nodes by their bounds, what came of the others, and the best point."""

from __future__ import annotations

import heapq
import logging
import math
from dataclasses import replace

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
    allowed : float
        By how much the best energy may exceed the bound at the end; 0 for exact data and no gap.
    record : bool
        Whether to keep the proofs of finished nodes.
    """

    def __init__(
        self, form: IntegerForm, root: Node, point: NDArray[np.int64], allowed: float, record: bool
    ) -> None:
        self.form, self.allowed, self.record = form, allowed, record
        self.point, self.best = point, form.energy(point)
        self.open: list[tuple[float, int, Node]] = []
        self.bounded: list[TreeNode] = []
        self.history: list[TreeMoment] = []
        self.pending: dict[int, Node] = {}
        self.made = 1
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
        _, _, node = heapq.heappop(self.open)
        self.pending[node.number] = node
        return Task(self.form.weights, node, self.best, self.threshold, deadline, self.record, tuning)

    def give_back(self) -> None:
        """Open the pending nodes again, as they were."""
        for node in self.pending.values():
            self.push(node)
        self.pending.clear()

    def take(self, outcome: Bounded, seconds: float) -> TreeMoment:
        """Add what came of a pending node."""
        node = self.pending.pop(outcome.node.number)
        if outcome.energy < self.best:
            self.point, self.best = outcome.point, outcome.energy
            _log.info("node %d finds a point of value %.9g", node.number, self.form.objective(self.best))
        if not outcome.finished and outcome.branch is None:
            # time ran out: the node starts anew another time, with what was proved
            self.push(_with_bound(node, outcome.bound))
        else:
            leaf = None if outcome.proof is None else Leaf(outcome.node.cuts, outcome.proof)
            self.bounded.append(
                TreeNode(node.number, node.parent, node.pair, outcome.bound, outcome.finished, leaf)
            )
            if outcome.branch is not None:
                self._branch(outcome)
        moment = TreeMoment(
            len(self.bounded),
            len(self.open) + len(self.pending),
            self.form.objective(self.best),
            self.objective_bound(),
            seconds,
        )
        self.history.append(moment)
        _log.debug(
            "%d nodes bounded, %d open: value %.9g, bound %.9g", moment.nodes, moment.open_nodes,
            moment.value, moment.lower_bound,
        )  # fmt: skip
        return moment

    def objective_bound(self) -> float:
        """The bound on the objective, -inf where there is none."""
        bound = self.lower_bound
        if not math.isfinite(bound):
            return bound
        if self.form.exact and bound == self.best:
            return self.form.objective(self.best)
        return math.nextafter(self.form.objective(bound - self.form.error), -math.inf)

    def _branch(self, outcome: Bounded) -> None:
        assert outcome.branch is not None
        for relation in (1, -1):
            self.push(child_node(outcome.node, *outcome.branch, relation, self.made, outcome.bound))
            self.made += 1


def _with_bound(node: Node, bound: float) -> Node:
    return replace(node, bound=max(node.bound, bound))
