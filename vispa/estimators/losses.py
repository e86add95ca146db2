"""Losses over the cube {-1, 1}^n as the estimators see them: values and gradients of batches, checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator
from torch import Tensor

from solvers.problems.problem import BinaryQuadratic

LossFunction = Callable[[Tensor], Tensor]
_RELAXED = ". BinaryQuadratic(problem.relaxation().cost) is its form in signs, to be minimised"


class Loss(Protocol):
    """A loss on batches of points, (B, n) to (B,)."""

    def values(self, points: Tensor) -> Tensor:
        """Losses of the rows of ``points``."""
        ...

    def gradients(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Losses (B,) and their gradients (B, n)."""
        ...


class CallableLoss:
    """A user's torch function, its answers checked on every call.

    Parameters
    ----------
    function : callable
        Maps points (B, n) to losses (B,), in any floating or integer dtype.

    Examples
    --------
    >>> loss = CallableLoss(lambda w: w.sum(dim=1) ** 2)
    >>> loss.gradients(torch.tensor([[1.0, 1.0]]))
    (tensor([4.]), tensor([[4., 4.]]))
    """

    def __init__(self, function: LossFunction) -> None:
        if not callable(function):
            raise TypeError(
                "loss must be a BinaryQuadratic or a function of a (B, n) tensor; "
                f"found {type(function).__name__}{_RELAXED if hasattr(function, 'relaxation') else ''}"
            )
        self._function = function
        self._has_moved = False

    def values(self, points: Tensor) -> Tensor:
        """Losses of the rows of ``points``, without a graph."""
        with torch.no_grad():
            # a copy, since the function may answer in the same memory at its next call
            return self._checked(self._function(points.clone()), points).clone()

    def gradients(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Losses and gradients.

        Raises
        ------
        ValueError
            If the loss has no gradient with respect to its points, or one that is zero although it varies.
        """
        with torch.inference_mode(False), torch.enable_grad():
            points = points.detach().clone().requires_grad_(True)
            # a copy, which the function may change in place, as where no gradient is asked for
            losses = self._checked(self._function(points.clone()), points)
            gradient = None
            if losses.requires_grad:
                (gradient,) = torch.autograd.grad(losses.sum(), points, allow_unused=True)
        losses = losses.detach().clone()
        if gradient is None:
            raise ValueError(
                'loss gives no gradient with respect to its points: pass estimator="score", which needs none'
            )
        if not torch.isfinite(gradient).all():
            raise ValueError("loss must have finite gradients; found NaN or infinite entries")
        self._refuse_dead_gradient(losses, gradient)
        return losses, gradient

    def _refuse_dead_gradient(self, losses: Tensor, gradient: Tensor) -> None:
        """Rounding and comparisons pass a gradient that is zero everywhere: training would stand still."""
        if self._has_moved:
            return
        self._has_moved = bool(gradient.any())
        if not self._has_moved and bool((losses != losses[0]).any()):
            raise ValueError(
                "loss varies but its gradient is zero at every point drawn (is it made of rounding or "
                'comparisons?): pass estimator="score", which needs no gradient'
            )

    @staticmethod
    def _checked(losses: object, points: Tensor) -> Tensor:
        if not isinstance(losses, Tensor):
            raise TypeError(f"loss must return a tensor; found {type(losses).__name__}")
        if losses.shape != points.shape[:1]:
            raise ValueError(
                f"loss must map points of shape {tuple(points.shape)} to losses of shape "
                f"({points.shape[0]},); found shape {tuple(losses.shape)}"
            )
        if losses.is_complex():
            raise TypeError(f"loss must return real numbers; found dtype {losses.dtype}")
        losses = losses.to(device=points.device, dtype=points.dtype)
        if not torch.isfinite(losses).all():
            raise ValueError("loss must be finite on the cube; found NaN or infinite values")
        return losses


class QuadraticLoss:
    """The multilinear extension of a BinaryQuadratic: w_i^2 = 1 moves the diagonal of A into the constant.

    Without its diagonal the gradient at a point of the cube is the exact half difference along each edge.
    """

    def __init__(self, problem: BinaryQuadratic, *, dtype: torch.dtype, device: torch.device) -> None:
        A = problem.A
        if isinstance(A, LinearOperator):
            raise TypeError("loss.A must hold its entries, dense or sparse; found a LinearOperator")
        diagonal = np.asarray(A.diagonal())
        self._constant = float(problem.constant + diagonal.sum())
        self._linear = torch.tensor(problem.b, dtype=dtype, device=device)
        if sp.issparse(A):
            edges = sp.coo_array(A - sp.diags_array(diagonal))
            indices = torch.as_tensor(np.stack([edges.row, edges.col]).astype(np.int64))
            self._matrix = torch.sparse_coo_tensor(
                indices, torch.as_tensor(edges.data), edges.shape, dtype=dtype, check_invariants=True
            ).coalesce()
            self._matrix = self._matrix.to(device)
        else:
            self._matrix = torch.as_tensor(A - np.diag(diagonal), dtype=dtype, device=device)
        self._check_range(A, problem.b, dtype)

    @staticmethod
    def _check_range(A: Any, b: NDArray[np.float64], dtype: torch.dtype) -> None:
        """Refuse what a narrower type turns into infinities, or into zeros altogether."""
        entries = A.data if sp.issparse(A) else A
        largest = max(float(np.abs(entries).max(initial=0.0)), float(np.abs(b).max(initial=0.0)))
        limits = torch.finfo(dtype)
        if largest and not limits.tiny <= largest <= limits.max / (A.shape[0] + 1) ** 2:
            raise ValueError(
                f"loss must have entries within the range of {dtype}; found entries of size {largest:.3g}. "
                "Pass dtype=torch.float64, or rescale the problem"
            )

    def values(self, points: Tensor) -> Tensor:
        """Losses of the rows of ``points``."""
        return self.gradients(points)[0]

    def gradients(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Losses and gradients 2 A w + b."""
        products = (self._matrix @ points.T).T
        losses = (points * (products + self._linear)).sum(dim=1) + self._constant
        return losses, 2.0 * products + self._linear
