"""Nodes of the tree: which signs are tied to which, and where to start bounding."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from solvers.cuts.cliques import CliqueCuts, no_cuts
from solvers.linalg.sphere import normalise


class Pair(NamedTuple):
    """Two vertices of the whole problem, and whether their signs are equal (+1) or opposite (-1)."""

    first: int
    second: int
    relation: int


@dataclass(frozen=True, eq=False)
class Node:
    """A subproblem, of the signs s_i = flip_i t_label_i.

    Attributes
    ----------
    number, parent : int
        The root has number 0 and parent -1; children are numbered as they are made.
    pair : Pair
        What ties this node beyond its parent; (0, 0, 1) at the root.
    labels, flips : (N,) int64 ndarray
    factor : (order, k) ndarray
        Unit rows to start from.
    cuts, multipliers : CliqueCuts and (m,) ndarray
        To start from.
    bound : float
        A proved lower bound on E in the node, from its parents; -inf at the root.
    """

    number: int
    parent: int
    pair: Pair
    labels: NDArray[np.int64]
    flips: NDArray[np.int64]
    factor: NDArray[np.float64]
    cuts: CliqueCuts
    multipliers: NDArray[np.float64]
    bound: float

    @property
    def order(self) -> int:
        """Number of free signs."""
        return int(self.factor.shape[0])

    def to_arrays(self) -> dict[str, Any]:
        """Fields as arrays, for a checkpoint."""
        arrays = {
            field.name: np.asarray(getattr(self, field.name))
            for field in fields(self)
            if field.name != "cuts"
        }
        return {**arrays, "vertices": self.cuts.vertices, "signs": self.cuts.signs}

    @classmethod
    def from_arrays(cls, arrays: dict[str, Any]) -> Node:
        """The node that `to_arrays` described."""
        arrays = dict(arrays)
        cuts = CliqueCuts(arrays.pop("vertices"), arrays.pop("signs"))
        for name in ("number", "parent"):
            arrays[name] = int(arrays[name])
        pair = Pair(*(int(entry) for entry in arrays.pop("pair")))
        return cls(cuts=cuts, pair=pair, bound=float(arrays.pop("bound")), **arrays)


def root_node(factor: NDArray[np.float64]) -> Node:
    """The node in which every sign is free."""
    order = factor.shape[0]
    labels, flips = np.arange(order), np.ones(order, np.int64)
    return Node(0, -1, Pair(0, 0, 1), labels, flips, factor, no_cuts(), np.empty(0), -np.inf)


def child_node(node: Node, a: int, b: int, relation: int, number: int, bound: float) -> Node:
    """The node in which t_b = relation t_a, a < b, with rows, cuts and multipliers carried over.

    Examples
    --------
    >>> root = root_node(np.eye(3))
    >>> child = child_node(root, 0, 2, -1, 1, -5.0)
    >>> child.labels, child.flips, child.order
    (array([0, 1, 0]), array([ 1,  1, -1]), 2)
    """
    labels = np.arange(node.order)
    labels[b + 1 :] -= 1
    labels[b] = a
    flips = np.ones(node.order, np.int64)
    flips[b] = relation
    rows = np.delete(node.factor, b, axis=0)
    joined = node.factor[a] + relation * node.factor[b]
    # opposite rows leave nothing: then either will do
    rows[a] = joined if np.linalg.norm(joined) > 1e-6 else node.factor[a]
    cuts, left = node.cuts.merged(labels, flips)
    firsts = [int(np.flatnonzero(node.labels == label)[0]) for label in (a, b)]
    tied = Pair(firsts[0], firsts[1], int(relation * node.flips[firsts[0]] * node.flips[firsts[1]]))
    return Node(
        number,
        node.number,
        tied,
        labels[node.labels],
        node.flips * flips[node.labels],
        normalise(rows),
        cuts,
        node.multipliers[left],
        bound,
    )
