r"""Recognise a fixed-diagonal semidefinite program in the conic form that modelling languages pass to solvers.

The form is: minimise c^T x + offset subject to F x = f and S(x) = H - G x PSD.  It is an elliptope in disguise
where every entry of x belongs to one entry of S, every off-diagonal entry of S is free, and the equations fix
diag(S) = a > 0: then S itself is its point.  Where several entries of x share an entry of S (x_ij
and x_ji of a matrix that was not declared symmetric), the smallest x is returned, which is the symmetric one.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from solvers.cvxpy_plugin.cone_program import ConeProgram, Entries, Equations, Vector, sum_by
from solvers.problems.problem import Elliptope
from solvers.problems.solution import Solution


class FixedDiagonal:
    r"""A cone program seen as an elliptope, and the way back.

    Parameters
    ----------
    program : ConeProgram
        Never changed.

    Attributes
    ----------
    problem : Elliptope
        Minimise over S with diag(S) = a; its value is that of the cone program.

    Raises
    ------
    DoesNotFit
        If the program is of another kind, saying what is in the way.

    Examples
    --------
    Minimise x_1 over the PSD matrices [[4, x_1], [x_1, 1]]:

    >>> program = ConeProgram(
    ...     cost=np.array([1.0]), offset=0.0, equations=sp.csr_array((0, 1)), targets=np.empty(0),
    ...     map=sp.csr_array([[0.0], [-np.sqrt(2.0)], [0.0]]), constant=np.array([4.0, 0.0, 1.0]), sizes=())
    >>> problem = FixedDiagonal(program).problem
    >>> problem.cost.toarray().round(9), problem.diagonal
    (array([[0. , 0.5], [0.5, 0. ]]), array([4., 1.]))
    """

    def __init__(self, program: ConeProgram) -> None:
        self._program = program
        self._entries = entries = Entries(program)
        self._equations = Equations(program, entries)
        self._multiple, remainder = entries.split(program.cost)
        scale = float(np.abs(program.cost).max(initial=0.0))
        self._symmetry = self._equations.symmetry_multipliers(entries, remainder, scale)
        self.problem = Elliptope(
            self._cost(),
            constant=program.offset + float(self._multiple @ program.constant),
            diagonal=self._equations.diagonal(program, entries),
        )

    def _cost(self) -> sp.csr_array:
        entries, order = self._entries, self._entries.order
        used = np.flatnonzero(self._multiple)
        i, j = entries.column[used], entries.row[used]
        # half of each diagonal entry, since the transpose brings it once more
        values = -self._multiple[used] * np.where(i == j, 0.5, np.sqrt(0.5))
        half = sp.coo_array((values, (i, j)), shape=(order, order)).tocsr()
        return sp.csr_array(half + half.T)

    def primal(self, solution: Solution) -> Vector:
        """The x of least norm that belongs to the solution's S."""
        entries, program = self._entries, self._program
        gram = solution.gram()
        np.fill_diagonal(gram, self.problem.diagonal)
        svec = gram[entries.column, entries.row] * np.where(entries.diagonal, 1.0, np.sqrt(2.0))
        return entries.weight * ((program.constant - svec)[entries.entry] / entries.square[entries.entry])

    def dual(self, solution: Solution) -> tuple[Vector, Vector]:
        r"""Multipliers z of the equations and svec Z of the cone: c + F^T z + G^T svec(Z) = 0.

        Z is PSD and the dual objective equals `solution.lower_bound`, for which each y_i is lowered by the gap over
        N a_i.
        (Where C falls apart into components, Z is PSD to within the gap.)
        """
        entries, equations, diagonal = self._entries, self._equations, self.problem.diagonal
        excess = solution.lower_bound - self.problem.constant - float(diagonal @ solution.dual)
        shift = excess / entries.order if np.isfinite(excess) else 0.0
        price = np.zeros(entries.count)
        price[entries.diagonal] = solution.dual + shift / diagonal
        # an entry that several equations fix shares its multiplier among them
        share = np.where(equations.fixing, equations.multiple, 0.0)
        total = sum_by(equations.entry, share**2, entries.count)[equations.entry]
        fixed = np.divide(
            share * price[equations.entry], total, out=np.zeros(equations.count), where=total > 0
        )
        return fixed + self._symmetry, -self._multiple - price
