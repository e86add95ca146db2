"""The maps with hand-written gradients: latents, the scaled sign, the binary activation.

All of them are pure elementwise arithmetic (no matrix product), so autocast never lowers their precision.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from vispa.nn.weights.memory import is_plain, memory_of, multiply_add, outer

__all__ = [
    "CorrelatedLatent",
    "IndependentLatent",
    "ScaledSign",
    "SignWithKernel",
    "SignWithQuadraticGradient",
    "working_dtype",
]

# Products of a gradient with alphas above it do not underflow.
SMALL_ALPHA = 1e-6


def working_dtype(dtype: torch.dtype) -> torch.dtype:
    """Precision of the variational maths: single, or double for double parameters."""
    return torch.promote_types(dtype, torch.float32)


def sign(values: Tensor) -> Tensor:
    """Return the signs as +1 and -1, with ``sgn(0) = sgn(-0) = +1``."""
    # -0.0 + 0.0 is +0.0. `copysign` is one pass over memory; on a CPU `where` costs ten times as much.
    return torch.copysign(torch.ones((), dtype=values.dtype, device=values.device), values + 0.0)


def visible_sign(values: Tensor) -> Tensor:
    """Return the signs as `sign` does, but NaN where a value is NaN, so that a diverged network shows it."""
    # A clamp keeps NaN and makes infinities finite, so that nothing else times zero is NaN.
    return sign(values).add_(values.clamp(-1, 1), alpha=0)


def per_channel(values: Tensor, like: Tensor) -> Tensor:
    """View one value an output channel so that it multiplies ``like``, whose first axis is the channel."""
    return values.view(-1, *[1] * (like.ndim - 1))


class CorrelatedLatent(Function):
    """``x = mean + noise @ factor``, one noise vector for all or one a row; the backward is the VISPA estimator.

    With ``G = dL/dx``: ``grad_mean = G`` and ``grad_factor = sqrt(scale) * noise outer G``. The factor is
    stored as sqrt(scale) times the factor of the covariance, so ``sqrt(scale) * noise`` is standard normal.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(mean: Tensor, factor: Tensor, noise: Tensor, scale: float) -> Tensor:
        """Compute the value; see the class."""
        rows = mean.to(noise.dtype).reshape(factor.shape[0], factor.shape[2])
        return multiply_add(rows, factor, noise).view(mean.shape)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, float], output: Tensor) -> None:
        """Keep what the backward needs."""
        mean, factor, noise, scale = inputs
        ctx.save_for_backward(noise)
        ctx.scale, ctx.mean_dtype, ctx.factor_dtype = scale, mean.dtype, factor.dtype
        ctx.memory = memory_of(factor) if ctx.needs_input_grad[1] else None

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        """Return one gradient an input; see the class."""
        (noise,) = ctx.saved_tensors
        grad_mean = grad_factor = None
        if ctx.needs_input_grad[0]:
            grad_mean = grad.to(ctx.mean_dtype)
        if ctx.needs_input_grad[1]:
            direction = (noise * ctx.scale**0.5).to(ctx.factor_dtype)
            grad_factor = outer(direction, grad.to(ctx.factor_dtype).flatten(1), ctx.memory)
        return grad_mean, grad_factor, None, None


class IndependentLatent(Function):
    """``x = latent + root * noise``, entry by entry: noise of the weights' own, under the same estimator.

    With ``G = dL/dx``: ``grad_latent = G`` and ``grad_root = sqrt(scale) * noise * G``, as for one more column
    of the factor that no other weight shares.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(latent: Tensor, root: Tensor, noise: Tensor, scale: float) -> Tensor:
        """Compute the value; see the class."""
        return torch.addcmul(latent, root.to(latent.dtype), noise)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor, float], output: Tensor) -> None:
        """Keep what the backward needs."""
        _, root, noise, scale = inputs
        ctx.save_for_backward(noise)
        ctx.scale, ctx.root_dtype = scale, root.dtype

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        """Return one gradient an input; see the class."""
        (noise,) = ctx.saved_tensors
        grad_root = (grad * (noise * ctx.scale**0.5)).to(ctx.root_dtype) if ctx.needs_input_grad[1] else None
        return grad, grad_root, None, None


class ScaledSign(Function):
    """``alpha * sgn(latent)``, one alpha an output channel; the backward passes straight through the sign.

    With ``G`` the gradient of the result: ``grad_latent = alpha * G``, ``grad_alpha = sum(sgn(latent) * G)``
    over each channel.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(latent: Tensor, alpha: Tensor) -> Tensor:
        """Compute the value; see the class."""
        # -0.0 + 0.0 is +0.0, as in `sign`; one pass fewer than a product of signs and alphas.
        signed = (latent + 0.0).to(alpha.dtype)
        weight = torch.copysign(per_channel(alpha, latent), signed)
        if is_plain(alpha) and not bool(torch.signbit(alpha).any()):
            return weight
        return weight.mul_(per_channel(_unit(alpha), latent))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        """Keep what the backward needs."""
        latent, alpha = inputs
        # The layer keeps the output for its own backward: saving it rather than the signs costs no memory.
        ctx.save_for_backward(output, alpha)
        ctx.latent_dtype = latent.dtype

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return one gradient an input; see the class."""
        output, alpha = ctx.saved_tensors
        grad_latent = grad_alpha = None
        if ctx.needs_input_grad[0]:
            grad_latent = (grad * per_channel(alpha, grad)).to(ctx.latent_dtype)
        if ctx.needs_input_grad[1]:
            grad_alpha = _channel_sums(output, grad, alpha)
        return grad_latent, grad_alpha


def _unit(alpha: Tensor) -> Tensor:
    """Return the signs of alpha, a signed zero's too."""
    return torch.copysign(torch.ones((), dtype=alpha.dtype, device=alpha.device), alpha)


def _channel_sums(output: Tensor, grad: Tensor, alpha: Tensor) -> Tensor:
    """Return the sum of ``sgn * grad`` over each channel, the signs read off ``output = alpha * sgn``."""
    precise = output.dtype == working_dtype(output.dtype)
    if precise and is_plain(grad) and not torch.is_grad_enabled() and bool((alpha.abs() > SMALL_ALPHA).all()):
        # Two passes fewer than with signs.
        return (output * grad).flatten(1).sum(1) / alpha
    # The sign bit survives in alpha * sgn even where alpha is a signed zero.
    return (_unit(output) * grad).flatten(1).sum(1) * _unit(alpha)


class SignWithQuadraticGradient(Function):
    """``sgn(x)``, its gradient scaled by ``max(2 - |2 x|, 0)``, the derivative of Bi-Real's quadratic."""

    generate_vmap_rule = True

    @staticmethod
    def forward(inputs: Tensor) -> Tensor:
        """Compute the value; see the class."""
        return visible_sign(inputs)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        """Keep what the backward needs."""
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """Return one gradient an input; see the class."""
        (inputs,) = ctx.saved_tensors
        return grad * (2 - 2 * inputs.abs()).clamp_min(0)


class SignWithKernel(Function):
    """``sgn(x)``, its gradient scaled by a kernel of x."""

    generate_vmap_rule = True

    @staticmethod
    def forward(inputs: Tensor, kernel: Callable[[Tensor], Tensor]) -> Tensor:
        """Compute the value; see the class."""
        return visible_sign(inputs)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Callable[[Tensor], Tensor]], output: Tensor) -> None:
        """Keep what the backward needs."""
        values, ctx.kernel = inputs
        ctx.save_for_backward(values)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """Return one gradient an input; see the class."""
        (inputs,) = ctx.saved_tensors
        return grad * ctx.kernel(inputs), None
