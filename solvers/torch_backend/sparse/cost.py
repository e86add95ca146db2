"""Sparse symmetric costs on a device, in CSR form with 32-bit indices: what fits n = 10^8 beside its factor."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from solvers import checks
from solvers.torch_backend.common.checks import FLOATS, checked_device, companion, real_tensor
from solvers.torch_backend.sparse.checks import check_csr, check_symmetry

# Largest entries of 2^-e to 2^e leave room for sums above them, and for much smaller ones below.
ROOMY = {torch.float32: 60, torch.float64: 900}


@dataclass(frozen=True, eq=False)
class SparseCost:
    r"""Minimise :math:`\langle C, Y\rangle + \text{constant}` over PSD Y with unit diagonal, C in CSR form.

    Made by `edge_cost`, `cut_cost` and `sparse_cost`, or from the arrays themselves, which are not copied.

    Attributes
    ----------
    pointers : (n + 1,) int32 Tensor
        Where each row starts in `indices` and `values`.
    indices : (nnz,) int32 Tensor
        Columns.  Both mirror images of an entry are stored, entries of the diagonal are not.
    values : (nnz,) float32 or float64 Tensor
        Its dtype is the one that everything is computed in.
    diagonal : (n,) Tensor or None
        The diagonal of C; None for zero.
    constant : float
        Added to value and bound; it has no part in the relative gap.
    maximised : bool
        Whether the user's objective is minus this one, so that reports flip the sign.
    exponent : int
        Values and diagonal are in units of 2^exponent: what is near an end of a dtype's range keeps its digits.

    Raises
    ------
    TypeError, ValueError
        For arrays of the wrong type, device, shape or range, an entry on the diagonal, NaN or infinity, and a
        matrix that is not symmetric, which is tested on two fixed vectors.

    Examples
    --------
    >>> cost = SparseCost(torch.tensor([0, 1, 2]), torch.tensor([1, 0]), torch.tensor([0.5, 0.5]))
    >>> cost.order, cost.entries
    (2, 2)
    """

    pointers: Tensor
    indices: Tensor
    values: Tensor
    diagonal: Tensor | None = None
    constant: float = field(default=0.0, kw_only=True)
    maximised: bool = field(default=False, kw_only=True)
    exponent: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        pointers, indices = check_csr(self.pointers, self.indices, self.values)
        object.__setattr__(self, "pointers", pointers)
        object.__setattr__(self, "indices", indices)
        object.__setattr__(self, "values", self.values.detach())
        if self.diagonal is not None:
            companion("diagonal", self.diagonal, (self.order,), self.values, "values")
            object.__setattr__(self, "diagonal", self.diagonal.detach())
            if not bool(torch.isfinite(self.diagonal).all()):
                raise ValueError("diagonal must be finite; found NaN or infinite entries")
        check_symmetry(self.pointers, self.indices, self.values)
        self._check_total()

    def _check_total(self) -> None:
        """Refuse what would overflow at the first product with signs."""
        parts = [part for part in (self.values, self.diagonal) if part is not None and part.numel()]
        largest = max((float(part.abs().amax()) for part in parts), default=0.0)
        room = math.log2(sys.float_info.max) - 4.0 - self.exponent
        if largest > 0.0 and math.log2(largest) + math.log2(self.entries + self.order) > room:
            raise ValueError(
                "the matrix must have entries whose absolute values add up within the range of float64; found "
                f"entries of size {math.ldexp(largest, self.exponent):.3g}. Rescale the problem"
            )

    @property
    def order(self) -> int:
        """N, the order of Y."""
        return int(self.pointers.shape[0]) - 1

    @property
    def entries(self) -> int:
        """Stored entries, twice the number of pairs that meet."""
        return int(self.indices.shape[0])

    @property
    def device(self) -> torch.device:
        """The device of every tensor."""
        return self.values.device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of every product."""
        return self.values.dtype

    def relaxation(self) -> SparseCost:
        """Return itself: it is its own relaxation."""
        return self

    def trace(self) -> float:
        """The sum of the diagonal, which every feasible value contains."""
        if self.diagonal is None:
            return 0.0
        return math.ldexp(float(self.diagonal.sum(dtype=torch.float64)), self.exponent)

    def frobenius(self) -> float:
        """Frobenius norm of C, summed in float64."""
        largest = float(self.values.abs().amax()) if self.entries else 0.0
        if self.diagonal is not None:
            largest = max(largest, float(self.diagonal.abs().amax()))
        if largest == 0.0:
            return 0.0
        # scaled first, so that squares neither over- nor underflow in float32
        total = float((self.values / largest).square_().sum(dtype=torch.float64))
        if self.diagonal is not None:
            total += float((self.diagonal / largest).square_().sum(dtype=torch.float64))
        return math.ldexp(largest * math.sqrt(total), self.exponent)


def sparse_cost(
    matrix: Any,
    *,
    device: Any = None,
    dtype: torch.dtype | None = None,
    constant: float = 0.0,
    maximised: bool = False,
) -> SparseCost:
    """The cost of a symmetric torch CSR or SciPy sparse matrix.

    Parameters
    ----------
    matrix : (n, n) torch.sparse_csr Tensor, or scipy sparse array
    device, dtype : optional
        Those of a tensor by default; the processor and float32 for a SciPy array.
    constant, maximised : optional
        As in `SparseCost`.

    Returns
    -------
    SparseCost

    Raises
    ------
    TypeError, ValueError
        For a matrix that is neither, or is not square, symmetric, finite and real.

    Examples
    --------
    >>> sparse_cost(sp.csr_array([[1.0, 2.0], [2.0, 0.0]])).diagonal
    tensor([1., 0.])
    """
    if isinstance(matrix, Tensor) and matrix.layout is torch.sparse_csr:
        pointers, indices, values = matrix.crow_indices(), matrix.col_indices(), matrix.values()
        real_tensor("matrix", values, dimensions=1) if values.numel() else None
    elif sp.issparse(matrix) and matrix.ndim == 2:
        csr = checks.real_sparse("matrix", matrix)
        pointers, indices = torch.from_numpy(csr.indptr.astype(np.int64)), torch.from_numpy(csr.indices)
        values = torch.from_numpy(csr.data)
        dtype = torch.float32 if dtype is None else dtype
    else:
        raise TypeError(f"matrix must be a torch CSR tensor or a SciPy sparse array; found {_kind(matrix)}")
    if matrix.shape[0] != matrix.shape[1] or matrix.shape[0] == 0:
        raise ValueError(f"matrix must be square and not empty; found shape {tuple(matrix.shape)}")
    place = values.device if device is None else checked_device("device", device)
    if dtype is not None and dtype not in FLOATS:
        raise TypeError(f"dtype must be torch.float32 or torch.float64; found {dtype}")
    dtype = values.dtype if dtype is None else dtype
    pointers, indices, values = pointers.to(place), indices.to(place), values.detach().to(place)
    pointers, indices, values, diagonal = _split_diagonal(pointers, indices, values)
    values, diagonal, exponent = fitted(values, diagonal, dtype)
    return SparseCost(
        pointers, indices, values, diagonal, constant=constant, maximised=maximised, exponent=exponent
    )


def row_sums(pointers: Tensor, values: Tensor) -> Tensor:
    """The sum of each row, (n,) float64."""
    sums = torch.zeros(values.shape[0] + 1, dtype=torch.float64, device=values.device)
    torch.cumsum(values, 0, dtype=torch.float64, out=sums[1:])
    return sums[pointers[1:].long()] - sums[pointers[:-1].long()]


def fitted(
    values: Tensor, diagonal: Tensor | None, dtype: torch.dtype, power: int = 0
) -> tuple[Tensor, Tensor | None, int]:
    """Values and diagonal times 2^power in a dtype, and an exponent taken out where its range is too narrow."""
    if values.dtype == dtype and power == 0:
        return values, diagonal, 0
    sizes = [float(part.abs().amax()) for part in (values, diagonal) if part is not None and part.numel()]
    needed = math.frexp(max(sizes, default=0.0))[1] + power
    exponent = 0 if abs(needed) <= ROOMY[dtype] else needed
    fitted = [
        None if part is None else times_power(part.double(), power - exponent).to(dtype)
        for part in (values, diagonal)
    ]
    assert fitted[0] is not None
    return fitted[0], fitted[1], exponent


def times_power(values: Tensor, exponent: int) -> Tensor:
    """The values times 2^exponent, in steps that stay in the range of their dtype."""
    step = 1000 if values.dtype == torch.float64 else 100
    while exponent:
        now = max(min(exponent, step), -step)
        values = values * 2.0**now
        exponent -= now
    return values


def _split_diagonal(
    pointers: Tensor, indices: Tensor, values: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    order = pointers.shape[0] - 1
    rows = torch.repeat_interleave(torch.arange(order, device=pointers.device), pointers.diff())
    loops = rows == indices
    if not bool(loops.any()):
        return pointers, indices, values, None
    diagonal = torch.zeros(order, dtype=values.dtype, device=values.device)
    diagonal.index_add_(0, rows[loops], values[loops])
    kept = ~loops
    return row_pointers(rows[kept], order), indices[kept], values[kept], diagonal


def row_pointers(rows: Tensor, order: int) -> Tensor:
    """Row pointers from sorted rows."""
    pointers = torch.zeros(order + 1, dtype=torch.int64, device=rows.device)
    torch.cumsum(torch.bincount(rows, minlength=order), 0, out=pointers[1:])
    return pointers


def _kind(matrix: Any) -> str:
    return f"a tensor of layout {matrix.layout}" if isinstance(matrix, Tensor) else type(matrix).__name__
