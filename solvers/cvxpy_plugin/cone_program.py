"""A cone program with one PSD matrix: which variable belongs to which entry, and what each equation says."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from solvers.checks import SYMMETRY_TOLERANCE

Vector = NDArray[np.float64]
Indices = NDArray[np.intp]

# Two equations may state the same diagonal entry with this relative difference: the rounding of their data.
AGREEMENT = 1e-10
# A row counts as a multiple of another up to this angle: the root of rounding, as it comes from a difference.
PARALLEL = 1e-7


class DoesNotFit(ValueError):
    """The program is not a fixed-diagonal one; the message says which part of it is not."""


@dataclass(frozen=True, eq=False)
class ConeProgram:
    r"""Minimise c^T x + offset subject to equations @ x = targets and svec^-1(constant - map @ x) PSD.

    Attributes
    ----------
    cost : (p,) ndarray
    offset : float
    equations : (e, p) sparse array
    targets : (e,) ndarray
    map : (m, p) sparse array
        Rows are the lower triangle of S column by column, off-diagonal ones times the root of 2;
        m = N (N + 1) / 2.
    constant : (m,) ndarray
    sizes : sequence of int
        Number of rows of each equality constraint, for messages.
    """

    cost: Vector
    offset: float
    equations: Any
    targets: Vector
    map: Any
    constant: Vector
    sizes: tuple[int, ...]

    def name(self, row: int) -> str:
        """The constraint to which a row of the equations belongs, in words."""
        ends = np.cumsum(self.sizes)
        number = int(np.searchsorted(ends, row, side="right"))
        if self.sizes[number] == 1:
            return f"equality constraint {number + 1} of {len(self.sizes)}"
        line = row - int(ends[number]) + self.sizes[number]
        return f"equality constraint {number + 1} of {len(self.sizes)} (its row {line})"


def sum_by(index: Indices, values: Vector, count: int) -> Vector:
    """Sum of the values that share an index, shape (count,)."""
    # NumPy counts in integers where there is nothing to weigh
    return np.bincount(index, weights=values, minlength=count).astype(np.float64)


class Entries:
    """Which entry of S each x_j belongs to: S_r = constant_r - sum_j g_j x_j over the j with entry_j = r."""

    def __init__(self, program: ConeProgram) -> None:
        columns = sp.csc_array(program.map, copy=True)
        columns.sum_duplicates()
        columns.eliminate_zeros()
        uses = np.diff(columns.indptr)
        if np.any(uses == 0):
            free = int(np.count_nonzero(uses == 0))
            raise DoesNotFit(f"{free} scalar variable(s) of the problem do not enter the PSD matrix")
        if np.any(uses > 1):
            raise DoesNotFit(
                "the PSD constraint mixes its variables: one of them enters several entries of the PSD matrix; "
                "only a matrix variable, scaled and shifted, fits"
            )
        self.count = int(columns.shape[0])
        self.order = (math.isqrt(8 * self.count + 1) - 1) // 2
        self.column, self.row = np.triu_indices(self.order)
        self.diagonal = self.row == self.column
        self.entry: Indices = columns.indices.astype(np.intp)
        self.weight: Vector = columns.data
        self.square = self.sum(self.weight**2)
        fixed = np.flatnonzero((self.square == 0) & ~self.diagonal)
        if fixed.size:
            raise DoesNotFit(f"the PSD constraint fixes the off-diagonal entry {self.name(int(fixed[0]))}")

    def sum(self, values: Vector) -> Vector:
        """Sum over the x_j of each entry."""
        return sum_by(self.entry, values, self.count)

    def split(self, values: Vector) -> tuple[Vector, Vector]:
        """A covector of x as a multiple of g for each entry, and the remainder orthogonal to every g."""
        multiple = np.divide(
            self.sum(self.weight * values), self.square, out=np.zeros(self.count), where=self.square > 0
        )
        return multiple, values - multiple[self.entry] * self.weight

    def name(self, entry: int) -> str:
        """Position in S, upper triangle."""
        return f"({self.column[entry]}, {self.row[entry]})"


class Equations:
    """What each row of the equations does: fix a diagonal entry, state symmetry, or nothing (0 = 0)."""

    def __init__(self, program: ConeProgram, entries: Entries) -> None:
        rows = sp.coo_array(program.equations)
        rows.sum_duplicates()
        rows.eliminate_zeros()
        self.count = int(rows.shape[0])
        self.line, self.variable, self.weight = rows.coords[0], rows.coords[1], rows.data
        entry = entries.entry[self.variable]
        self.entry = np.full(self.count, entries.count)
        np.minimum.at(self.entry, self.line, entry)
        last = np.full(self.count, -1)
        np.maximum.at(last, self.line, entry)
        self.empty = last < 0
        self._refuse(program, ~self.empty & (self.entry != last), "ties several entries of the PSD matrix")
        self.entry[self.empty] = 0
        self.multiple = self._sum(self.weight * entries.weight[self.variable])
        self.multiple /= np.where(self.empty, 1.0, entries.square[self.entry])
        self.length = np.sqrt(self._sum(self.weight**2))
        along = np.abs(self.multiple) * np.sqrt(entries.square[self.entry])
        across = np.sqrt(np.maximum(self.length**2 - along**2, 0.0))
        self.symmetry = ~self.empty & (along <= SYMMETRY_TOLERANCE * self.length)
        self.fixing = ~self.empty & (across <= PARALLEL * self.length)
        self._check(program, entries)

    def _sum(self, values: Vector) -> Vector:
        return sum_by(self.line, values, self.count)

    def _check(self, program: ConeProgram, entries: Entries) -> None:
        zero = program.targets == 0
        self._refuse(program, self.empty & ~zero, "has no variable in it and does not hold")
        off_diagonal = ~self.empty & ~entries.diagonal[self.entry] & ~(self.symmetry & zero)
        if np.any(off_diagonal):
            position = entries.name(int(self.entry[np.argmax(off_diagonal)]))
            self._refuse(program, off_diagonal, f"fixes the off-diagonal entry {position} of the PSD matrix")
        tied = entries.diagonal[self.entry] & ~self.empty & ~self.fixing
        self._refuse(
            program, tied, "fixes a part of a diagonal entry of the PSD matrix, not the entry itself"
        )

    @staticmethod
    def _refuse(program: ConeProgram, rows: NDArray[np.bool_], what: str) -> None:
        if np.any(rows):
            raise DoesNotFit(f"{program.name(int(np.argmax(rows)))} {what}")

    def diagonal(self, program: ConeProgram, entries: Entries) -> Vector:
        """The a of diag(S) = a, positive."""
        value = np.full(entries.count, np.nan)
        lines = np.flatnonzero(self.fixing)
        where = self.entry[lines]
        stated = program.constant[where] - program.targets[lines] / self.multiple[lines]
        value[where] = stated
        differs = np.zeros(self.count, dtype=bool)
        differs[lines] = np.abs(stated - value[where]) > AGREEMENT * np.abs(stated)
        self._refuse(program, differs, "contradicts another one that fixes the same diagonal entry")
        constant = entries.square == 0
        value[constant] = program.constant[constant]
        loose = np.isnan(value) & entries.diagonal
        if np.any(loose):
            position = entries.name(int(np.argmax(loose)))
            raise DoesNotFit(f"no equality constraint fixes the diagonal entry {position} of the PSD matrix")
        value = value[entries.diagonal]
        if not np.all(value > 0):
            index = int(np.argmax(~(value > 0)))
            raise DoesNotFit(
                f"the diagonal entry ({index}, {index}) of the PSD matrix is fixed to {value[index]:.6g}; "
                "it must be positive"
            )
        return value

    def symmetry_multipliers(self, entries: Entries, remainder: Vector, scale: float) -> Vector:
        """Multipliers of the symmetry equations, which alone can balance a cost that is not symmetric."""
        covered = sum_by(self.entry, np.where(self.symmetry, self.length**2, 0.0), entries.count)
        # Two variables leave one direction to which every symmetry equation of the entry is parallel.
        pairs = np.bincount(entries.entry, minlength=entries.count) == 2
        large = np.abs(remainder) > SYMMETRY_TOLERANCE * scale
        bare = large & ~((covered > 0) & pairs)[entries.entry]
        if np.any(bare):
            position = entries.name(int(entries.entry[np.argmax(bare)]))
            raise DoesNotFit(
                f"the objective weighs the entry {position} of the PSD matrix and its mirror image differently, "
                "and nothing makes them equal: declare the variable with symmetric=True"
            )
        products = self._sum(self.weight * remainder[self.variable])
        return np.divide(-products, covered[self.entry], out=np.zeros(self.count), where=self.symmetry)
