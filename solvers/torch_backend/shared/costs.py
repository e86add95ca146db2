"""Problems that share a matrix: C_j = [[0, b_j^T/2], [b_j/2, A]], of which only A and the b_j are ever stored."""

from __future__ import annotations

import torch
from torch import Tensor

from solvers.torch_backend.dense.costs import SMALLEST_EXPONENT

LARGEST_EXPONENT = 1023
# A linear term this many times as large as the matrix leaves nothing of the matrix in float32.
MAX_RATIO = 1e12


class SharedCosts:
    """A and the b_j, divided by one power of two, in float64 and in the dtypes that sweeps use.

    Parameters
    ----------
    matrix : (n, n) Tensor
        Only the symmetric part counts.
    linear : (J, n) Tensor

    Attributes
    ----------
    order : int
        N = n + 1.
    scale : float
        The power of two.
    matrix : (n, n) float64 Tensor
        Symmetric.
    half : (n, J) float64 Tensor
        The b_j/2, one a column.
    solvable : (J,) bool Tensor
        Whether b_j is finite, and within `MAX_RATIO` of the matrix.
    """

    def __init__(self, matrix: Tensor, linear: Tensor) -> None:
        self.device = matrix.device
        self.order = matrix.shape[0] + 1
        size = float(matrix.abs().amax())
        terms = linear.detach().abs().amax(dim=1).double()
        largest = size if size > 0.0 else float(terms.nan_to_num(0.0, 0.0, 0.0).amax())
        exponent = int(torch.frexp(torch.tensor(largest, dtype=torch.float64)).exponent)
        self.scale = 2.0 ** min(max(exponent, SMALLEST_EXPONENT), LARGEST_EXPONENT)
        self.solvable = terms <= min(MAX_RATIO * largest, torch.finfo(torch.float64).max)
        scaled = matrix.detach().double() / self.scale
        self.matrix = 0.5 * (scaled + scaled.mT)
        # those that are not solvable are never looked at again, but must not poison a product
        safe = torch.where(self.solvable[:, None], linear.detach(), 0.0).double()
        self.half = (0.5 / self.scale * safe).mT.contiguous()
        self._square = float(torch.linalg.vector_norm(self.matrix)) ** 2

    @property
    def frobenius(self) -> Tensor:
        r"""\|C_j\|_F, (J,)."""
        return torch.sqrt(self._square + 2.0 * self.half.square().sum(dim=0))

    def zero_diagonal(self, dtype: torch.dtype) -> Tensor:
        """A without its diagonal in another dtype."""
        return self.matrix.clone().fill_diagonal_(0.0).to(dtype)

    def assemble(self, which: Tensor) -> Tensor:
        """The C_j of the problems ``which`` (b,), in float64, each with a matrix of its own: (b, N, N)."""
        whole = self.matrix.new_empty(which.shape[0], self.order, self.order)
        whole[:, 0, 0] = 0.0
        whole[:, 1:, 1:] = self.matrix
        whole[:, 0, 1:] = whole[:, 1:, 0] = self.half[:, which].mT
        return whole

    def product(self, points: Tensor, which: Tensor) -> Tensor:
        """C_j applied to points (N, b, ...) of the problems ``which`` (b,): one product with A for all."""
        half = self.half[:, which]
        half = half.reshape(*half.shape, *(1,) * (points.dim() - 2))
        first = (half * points[1:]).sum(dim=0, keepdim=True)
        flat = points[1:].reshape(self.order - 1, -1)
        rest = (self.matrix @ flat).reshape(points[1:].shape) + half * points[:1]
        return torch.cat([first, rest])
