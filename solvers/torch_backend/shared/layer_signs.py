"""Binary weights for a whole layer: min |X (alpha w - w_j)|^2 over signs w and a scale alpha a channel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from solvers import checks
from solvers.torch_backend.common.checks import checked_generator, companion, real_tensor
from solvers.torch_backend.common.run_state import BatchMoment
from solvers.torch_backend.shared.rounding import round_shared
from solvers.torch_backend.shared.solve_shared import SharedSolution, solve_shared

# The relaxations on the way to the scales need no more than their signs do.
ROUGH = 1e-2
# Scales that change by less have settled.
SETTLED = 1e-3


@dataclass(frozen=True, eq=False)
class LayerSigns:
    r"""Signs and scales of J channels.

    Attributes
    ----------
    signs : (J, n) Tensor
        +1 and -1, in the dtype of the weights.
    scale : (J,) Tensor
        :math:`\alpha_j \ge 0`.
    error : (J,) float64 Tensor
        :math:`|X(\alpha_j w - w_j)|^2`.
    lower_bound : (J,) float64 Tensor
        A bound on this error for every choice of signs, at this scale.
    gap : (J,) float64 Tensor
        (error - lower_bound) / :math:`|X w_j|^2`, and 0 where that is 0.
    relaxation : SharedSolution
        The relaxations at these scales, of :math:`w^T A w - (2/\alpha_j) (A w_j)^T w`.
    """

    signs: Tensor
    scale: Tensor
    error: Tensor
    lower_bound: Tensor
    gap: Tensor
    relaxation: SharedSolution


def layer_signs(
    weights: Tensor,
    *,
    inputs: Tensor | None = None,
    gram: Tensor | None = None,
    rounds: int = 4,
    samples: int = 16,
    rank: int | None = None,
    tol: float = 1e-4,
    max_iterations: int = 2_000,
    max_seconds: float | None = None,
    callback: Callable[[BatchMoment], None] | None = None,
    generator: torch.Generator | None = None,
) -> LayerSigns:
    r"""Choose signs and a scale for every output channel of a layer so that its outputs change least.

    Parameters
    ----------
    weights : (J, n) Tensor
        The layer's weights w_j, a channel a row; float32 or float64.
    inputs : (m, n) Tensor, optional
        X: what the layer is fed, a sample a row.  Either this or ``gram``.
    gram : (n, n) Tensor, optional
        A = X^T X, symmetric and positive semidefinite.
    rounds : int, optional
        Fits of the scales at most; 1 keeps the best scale of the signs of w_j, which is their mean size for white
        inputs (claim B6 of theory_checks).
    samples : int, optional
        Roundings of each relaxation, each improved by flips; the signs of the weights are always tried too.
    rank, tol, max_iterations, max_seconds, callback, generator
        As for `solve_shared`; the limits hold for each of the relaxations solved on the way.

    Returns
    -------
    LayerSigns

    Raises
    ------
    TypeError, ValueError
        For an argument that does not fit, naming it.
    MemoryError
        With an estimate of what is needed and what to lower.

    Notes
    -----
    For a fixed scale this is min w^T A w + b_j^T w with b_j = -(2/alpha_j) A w_j: one matrix, J linear terms
    (`solve_shared`).  For fixed signs the best scale is w^T A w_j / w^T A w.  The two alternate, starting each
    relaxation from the last; the error never grows, from that of the signs of w_j at their best scale on.

    Examples
    --------
    >>> X = torch.tensor([[1.0, 1.0], [0.0, 1.0]])
    >>> chosen = layer_signs(torch.tensor([[0.5, -0.4]]), inputs=X, generator=torch.Generator().manual_seed(0))
    >>> chosen.signs.tolist(), round(float(chosen.scale), 3)
    ([[1.0, -1.0]], 0.4)
    """
    weights = real_tensor("weights", weights, dimensions=2)
    matrix = _checked_gram(weights, inputs, gram)
    for name, tensor in (("weights", weights), ("gram" if inputs is None else "inputs", matrix)):
        if tensor.requires_grad or not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{name} must be finite and must not require a gradient; pass {name}.detach()")
    checks.integer("rounds", rounds, minimum=1)
    checks.integer("samples", samples, minimum=1)
    generator = checked_generator("generator", generator, weights.device)
    options: dict[str, Any] = {
        "max_iterations": max_iterations,
        "max_seconds": max_seconds,
        "callback": callback,
    }
    fit = _Fit(weights.double(), matrix, samples, generator)
    solved: SharedSolution | None = None
    for left in reversed(range(rounds)):
        start = {"rank": rank} if solved is None else {"start": solved.factor.double()}
        tight = left == 0 or fit.settled
        solved = solve_shared(
            matrix, fit.linear, tol=tol if tight else max(tol, ROUGH), generator=generator, **start, **options
        )
        fit.round(solved)
        if tight:
            break
        fit.rescale()
    assert solved is not None
    return fit.result(solved, weights.dtype)


class _Fit:
    """Signs (n, J) and scales (J,) on their way."""

    def __init__(self, weights: Tensor, matrix: Tensor, samples: int, generator: torch.Generator) -> None:
        self._matrix, self._samples, self._generator = matrix, samples, generator
        self._target = weights @ matrix
        self._energy = (self._target * weights).sum(dim=1)
        signs = torch.where(weights >= 0.0, 1.0, -1.0).to(weights.dtype).mT
        # the other way round where inputs that belong together make the signs of the weights point away
        away = (signs * self._target.mT).sum(dim=0) < 0.0
        self._signs = torch.where(away, -signs, signs)
        self._scale = self._best_scale()
        self.settled = False

    @property
    def linear(self) -> Tensor:
        """b_j = -(2/alpha_j) A w_j; zero for a channel of scale zero."""
        used = (self._scale > 0.0)[:, None]
        return torch.where(used, -2.0 * self._target / self._scale[:, None], 0.0)

    def round(self, solved: SharedSolution) -> None:
        """Take the best signs for the present scales."""
        factors = solved.factor.double()
        self._signs = round_shared(
            self._matrix,
            self.linear.mT,
            factors,
            self._signs,
            samples=self._samples,
            generator=self._generator,
        )

    def rescale(self) -> None:
        """Take the best scales for the present signs."""
        best = self._best_scale()
        self.settled = bool(((best - self._scale).abs() <= SETTLED * self._scale).all())
        self._scale = best

    def _best_scale(self) -> Tensor:
        """a_j^T s / s^T A s, and 0 where that is negative, or where nothing of the signs reaches the output."""
        squared = (self._signs * (self._matrix @ self._signs)).sum(dim=0)
        crossed = (self._signs * self._target.mT).sum(dim=0)
        return torch.where((squared > 0.0) & (crossed > 0.0), crossed / squared, 0.0)

    def result(self, solved: SharedSolution, dtype: torch.dtype) -> LayerSigns:
        """Errors and bounds at the present signs and scales."""
        scale = self._scale
        squared = (self._signs * (self._matrix @ self._signs)).sum(dim=0)
        crossed = (self._signs * self._target.mT).sum(dim=0)
        error = scale * scale * squared - 2.0 * scale * crossed + self._energy
        # a scale of zero is always to be had; its error is the bound, too, and no square is negative
        scale = torch.where(error > self._energy, 0.0, scale)
        error = torch.minimum(error, self._energy).clamp_min(0.0)
        bound = torch.minimum(scale * scale * solved.lower_bound + self._energy, error).clamp_min(0.0)
        gap = torch.where(self._energy > 0.0, (error - bound) / self._energy, 0.0)
        return LayerSigns(self._signs.mT.to(dtype), scale.to(dtype), error, bound, gap, solved)


def _check_semidefinite(matrix: Tensor, rounding: float) -> None:
    """Refuse a matrix that no inputs have, by a Cholesky factorisation just above it."""
    diagonal = torch.diagonal(matrix)
    lifted = matrix.clone()
    lifted.diagonal().add_(4.0 * matrix.shape[0] * rounding * diagonal.abs().amax())
    positive = bool((diagonal >= 0.0).all()) and (
        not bool(matrix.any()) or int(torch.linalg.cholesky_ex(lifted).info) == 0
    )
    if not positive:
        raise ValueError("gram must be positive semidefinite, as X^T X is; found a negative eigenvalue")


def _checked_gram(weights: Tensor, inputs: Any, gram: Any) -> Tensor:
    """A in float64."""
    if (inputs is None) == (gram is None):
        raise ValueError("inputs or gram must be given, and not both")
    width = weights.shape[1]
    if gram is not None:
        matrix = companion("gram", gram, (width, width), weights, "weights")
        difference = float((matrix - matrix.mT).abs().amax())
        if difference > 1e-4 * float(matrix.abs().amax()):
            raise ValueError(
                f"gram must be symmetric; entries differ from their mirror image by {difference:.3g}"
            )
        symmetric = 0.5 * (matrix.double() + matrix.double().mT)
        _check_semidefinite(symmetric, torch.finfo(matrix.dtype).eps)
        return symmetric
    rows = real_tensor("inputs", inputs, dimensions=2)
    rows = companion("inputs", rows, (rows.shape[0], width), weights, "weights").double()
    return rows.mT @ rows
