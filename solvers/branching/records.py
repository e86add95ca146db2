"""What is kept of a search: its moments, and what came of every node."""

from __future__ import annotations

from typing import NamedTuple

from solvers.branching.node import Pair
from solvers.cuts.cliques import CliqueCuts
from solvers.cuts.tighten import Proof


class TreeMoment(NamedTuple):
    """The state after a node: nodes bounded, nodes open, best value, proved bound on all values, and seconds."""

    nodes: int
    open_nodes: int
    value: float
    lower_bound: float
    seconds: float


class Leaf(NamedTuple):
    """What ends a node: cuts over its own signs, and the proved bound from them."""

    cuts: CliqueCuts
    proof: Proof


class TreeNode(NamedTuple):
    """A node that was bounded.

    Attributes
    ----------
    number, parent : int
        The root has number 0 and parent -1.
    pair : Pair
        Two vertices of the homogenised problem that the node ties, beyond its parent.
    bound : float
        Proved, in units of E.
    finished : bool
        Whether the bound ended it; if not, it has two children.
    leaf : Leaf or None
        The proof of a finished node, where proofs were asked for; None where nothing is left to prove.
    """

    number: int
    parent: int
    pair: Pair
    bound: float
    finished: bool
    leaf: Leaf | None
