"""What branch and bound returns: a point, a bound on all points, the tree between them, and why it stopped."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from solvers.branching.proof import write_proof
from solvers.branching.records import TreeMoment, TreeNode
from solvers.problems.integer_form import IntegerForm
from solvers.problems.problem import Problem
from solvers.problems.scipy_names import SciPyNames
from solvers.problems.solution import Certificate, own_sense


class TreeEnd(enum.Enum):
    """Why branch and bound stopped, and what the user can do about it."""

    OPTIMAL = "no point is better: that is proved, for data that are not whole numbers within the stated gap"
    GAP_REACHED = (
        "no point is better by more than the gap that was asked for: that is proved; pass gap=0 to go on"
    )
    TIME_LIMIT = "the time limit came first: raise max_seconds, or go on from the checkpoint"
    INTERRUPTED = "interrupted: go on from the checkpoint, if one was asked for"

    @property
    def message(self) -> str:
        """The reason and its remedy, in words."""
        return self.value


@dataclass(frozen=True, eq=False)
class ProvedSolution(SciPyNames):
    r"""The best point found and a proved bound on every point.

    Values are those of the minimised objective, constant included; `report` gives them in the sense in which the
    problem was stated.

    Attributes
    ----------
    problem : BinaryQuadratic, MaxCut or Elliptope
        What was solved.
    signs : (n,) int8 ndarray
        The best point.
    value : float
        Its objective.
    lower_bound : float
        No point is below it; equal to ``value`` where the optimum is proved, data are whole numbers and the
        optimum is a float64.
    gap : float
        (value - lower_bound) / max(\|value - constant\|, \|C\|_F), as for `solvers.Solution`.
    certificate : {"rigorous", "none"}
        The bound comes from Cholesky factorisations with error bounds; "none" where no node was bounded.
    status : TreeEnd
        Why the search stopped.
    nodes : int
        Nodes bounded.
    open_nodes : int
        Nodes left.
    seconds : float
        Wall-clock time, of earlier runs too where it went on from a checkpoint.
    history : tuple of TreeMoment
        After every node.
    tree : tuple of TreeNode
        The nodes in the order in which they were bounded.
    """

    POINT: ClassVar[str] = "signs"
    COUNT: ClassVar[str] = "nodes"

    problem: Problem
    signs: NDArray[np.int8] = field(repr=False)
    value: float
    lower_bound: float
    gap: float
    certificate: Certificate
    status: TreeEnd
    nodes: int
    open_nodes: int
    seconds: float
    history: tuple[TreeMoment, ...] = field(default=(), repr=False)
    tree: tuple[TreeNode, ...] = field(default=(), repr=False)
    form: IntegerForm | None = field(default=None, repr=False)

    @property
    def optimal(self) -> bool:
        """Whether the point is proved optimal."""
        return self.status is TreeEnd.OPTIMAL

    def write_proof(self, file: str | PathLike[str]) -> None:
        """Write a proof of optimality as JSON, which ``python -m solvers.check_proof`` checks in exact arithmetic.

        Raises
        ------
        ValueError
            If the optimum is not proved, if the search was not asked to keep proofs (``proof=True``), or if the
            data are not whole numbers up to a common factor.
        """
        if self.form is None or not self.optimal:
            raise ValueError(f"only a proved optimum has a proof; found status {self.status.name}")
        if not self.form.exact:
            raise ValueError(
                "a proof in exact arithmetic needs whole numbers up to a common factor; found others, for which "
                f"optimality is proved to a gap of {self.gap:.3g}"
            )
        write_proof(self.form, self.signs, self.tree, Path(file))

    def report(self) -> dict[str, Any]:
        """Value and bound in the problem's own sense, ready for JSON."""
        return {
            **own_sense(self.problem, self.value, self.lower_bound),
            "gap": self.gap,
            "certificate": self.certificate,
            "optimal": self.optimal,
            "status": self.status.name.lower(),
            "message": self.message,
            "nodes": self.nodes,
            "open_nodes": self.open_nodes,
            "seconds": self.seconds,
        }
