"""The relaxation: a linear objective over PSD matrices with a fixed diagonal."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from solvers import checks
from solvers.problems.cost import Cost, apply, as_cost, scale_symmetrically
from solvers.problems.points import as_points


@dataclass(frozen=True, eq=False)
class Elliptope:
    r"""Minimise :math:`\langle C, Y\rangle + \text{constant}` over PSD Y with a fixed diagonal, of ones by default.

    Parameters
    ----------
    cost : (N, N) array_like, scipy sparse array, or LinearOperator
        Symmetric C.
    constant : float, optional
        Added to value and bound; it has no part in the relative gap.
    homogenised : bool, optional
        Whether row 0 stands for the constant 1 that carries a linear term.
    maximised : bool, optional
        Whether the user's objective is minus this one, so that reports flip the sign.
    diagonal : (N,) array_like, optional
        The a > 0 of diag(Y) = a; ones by default.

    Raises
    ------
    TypeError
        If an argument is not of its kind.
    ValueError
        If the cost is empty, not square, not symmetric or not finite, if the diagonal does not fit or is not
        positive, or if it gives the homogenising row another square than 1.

    Notes
    -----
    With D = Diag(a) the matrices are :math:`Y = D^{1/2} Y' D^{1/2}`, Y' of unit diagonal, and the cost of Y' is
    :math:`D^{1/2} C D^{1/2}`: `unit` poses that problem.  The binary points are :math:`s_i = \pm\sqrt{a_i}`;
    where signs are asked for, they are the signs of s.

    Examples
    --------
    >>> Elliptope([[0.0, 1.0], [1.0, 0.0]]).size
    2
    >>> Elliptope([[0.0, 1.0], [1.0, 0.0]], diagonal=[4.0, 1.0]).unit().cost
    array([[0., 2.],
           [2., 0.]])
    """

    cost: Cost
    constant: float
    homogenised: bool
    maximised: bool
    diagonal: NDArray[np.float64]

    def __init__(
        self,
        cost: Any,
        constant: float = 0.0,
        homogenised: bool = False,
        maximised: bool = False,
        diagonal: ArrayLike | None = None,
    ) -> None:
        homogenised = checks.boolean("homogenised", homogenised)
        cost = as_cost("cost", cost)
        values = {
            "cost": cost,
            "constant": checks.scalar("constant", constant),
            "homogenised": homogenised,
            "maximised": checks.boolean("maximised", maximised),
            "diagonal": _fixed_diagonal(diagonal, int(cost.shape[0]), homogenised),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def size(self) -> int:
        """N, the order of Y."""
        return int(self.cost.shape[0])

    @property
    def has_unit_diagonal(self) -> bool:
        """Whether every diagonal entry is fixed to 1."""
        return bool(np.all(self.diagonal == 1.0))

    def unit(self) -> Elliptope:
        """The problem in Y' of unit diagonal; itself where the diagonal is 1 already.  Built once."""
        return self if self.has_unit_diagonal else self._unit

    @cached_property
    def _unit(self) -> Elliptope:
        scaled = scale_symmetrically(self.cost, np.sqrt(self.diagonal))
        return Elliptope(scaled, self.constant, self.homogenised, self.maximised)

    def __repr__(self) -> str:
        return f"<Elliptope of order {self.size}{', maximised' if self.maximised else ''}>"

    def relaxation(self) -> Elliptope:
        """Return itself: it is its own relaxation."""
        return self

    def evaluate(self, signs: ArrayLike) -> NDArray[np.float64]:
        r"""Objective <C, s s^T> + constant at :math:`s_i = w_i\sqrt{a_i}`, for signs w (N,) or each row of them.

        In the minimised sense.
        """
        points = np.sqrt(self.diagonal) * as_points(signs, self.size)
        return np.asarray(np.einsum("...i,...i->...", points, apply(self.cost, points)) + self.constant)


def _fixed_diagonal(values: ArrayLike | None, order: int, homogenised: bool) -> NDArray[np.float64]:
    if values is None:
        return np.ones(order)
    diagonal = checks.vector("diagonal", values, length=order)
    if not np.all(diagonal > 0):
        index = int(np.argmin(diagonal))
        raise ValueError(f"diagonal must be positive; found {diagonal[index]} at index {index}")
    if homogenised and diagonal[0] != 1.0:
        raise ValueError(
            f"diagonal must be 1 at index 0 of a homogenised problem, which stands for 1; found {diagonal[0]}"
        )
    return diagonal
