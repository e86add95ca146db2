r"""Straight-through kernels for the sign, and the noise that makes each of them exact.

For w = sgn(mu + e), e with density f, the derivative of E[w] with respect to mu is 2 f(-mu).  So
backpropagating through the sign with a kernel kappa gives the exact gradient of a multilinear loss iff
kappa(-e) / 2 is, up to a positive constant, a density: that of the noise.

A kernel is one entry of `KERNELS`, or a `Kernel` of your own; activations and binary weights take either.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from solvers import checks
from vispa.estimators.noise_laws import (
    NoiseLaw,
    integrated,
    logistic,
    triangular_cumulative,
    triangular_quantile,
)

__all__ = [
    "KERNELS",
    "Kernel",
    "KernelFunction",
    "NoiseLaw",
    "as_kernel",
    "bireal_kernel",
    "ede_kernel",
    "gaussian_kernel",
    "hard_tanh_kernel",
    "identity_kernel",
    "noise_of",
    "ste_kernel",
    "swish_sign_kernel",
    "tanh_kernel",
]

KernelFunction = Callable[[Tensor], Tensor]

SWISH_SHARPNESS = 5.0


@dataclass(frozen=True)
class Kernel:
    """What multiplies a gradient on its way through a sign.

    Attributes
    ----------
    name : str
        As in ``vispa.SignActivation("bi-real")``.
    function : callable
        Maps latent values to multipliers of their gradients, tensor to tensor of the same shape.
    noise : NoiseLaw, str or None
        The law for which the kernel is exact up to a positive constant; or why there is none, in words; or
        None where it has to be found by integration.

    Examples
    --------
    >>> cosine = Kernel("cosine", lambda x: torch.cos(x) * (x.abs() < 1.5707963))
    >>> cosine(torch.tensor([0.0, 3.0])).tolist()
    [1.0, -0.0]
    """

    name: str
    function: KernelFunction
    noise: NoiseLaw | str | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Multipliers at ``x``."""
        return self.function(x)

    def __reduce__(self) -> Any:
        """Let copies and pickles of a kernel of the table be that kernel."""
        if KERNELS.get(self.name) is self:
            return KERNELS.__getitem__, (self.name,)
        return Kernel, (self.name, self.function, self.noise)

    def law(self) -> NoiseLaw:
        """Return the noise; a ValueError says why there is none."""
        if isinstance(self.noise, str):
            raise ValueError(self.noise)
        return integrated(self.function) if self.noise is None else self.noise


def _hard_tanh(x: Tensor) -> Tensor:
    return (x.abs() <= 1).to(x.dtype)


def _bireal(x: Tensor) -> Tensor:
    return (2.0 - (2.0 * x).abs()).clamp_min(0.0)


def _tanh(x: Tensor) -> Tensor:
    return 4.0 * torch.sigmoid(2.0 * x) * torch.sigmoid(-2.0 * x)


def _gaussian(x: Tensor) -> Tensor:
    return torch.exp(-0.5 * x.square()) * math.sqrt(2.0 / math.pi)


def _swish_sign(x: Tensor) -> Tensor:
    scaled = (SWISH_SHARPNESS * x).clamp(-80.0, 80.0)
    return SWISH_SHARPNESS * (2.0 - scaled * torch.tanh(0.5 * scaled)) / (1.0 + torch.cosh(scaled))


# 1 where |x| <= 1, else 0: the derivative of clamp(x, -1, 1).
hard_tanh_kernel = Kernel(
    "hard-tanh",
    _hard_tanh,
    NoiseLaw(
        "uniform",
        lambda x: 0.5 * _hard_tanh(x),
        lambda x: 0.5 * (1.0 + x.clamp(-1.0, 1.0)),
        lambda p: 2.0 * p - 1.0,
    ),
)
# max(2 - |2x|, 0), of Bi-Real Net (Liu et al. 2018).
bireal_kernel = Kernel(
    "bi-real",
    _bireal,
    NoiseLaw("triangular", lambda x: 0.5 * _bireal(x), triangular_cumulative, triangular_quantile),
)
# 1 - tanh(x)^2, with relative error below 1e-14 in float64 also where the tanh is 1 to all digits.
tanh_kernel = Kernel("tanh", _tanh, logistic(2.0))
# 2 phi(x), twice the standard normal density, with relative error below 2e-13 in float64.
gaussian_kernel = Kernel(
    "gaussian",
    _gaussian,
    NoiseLaw("gaussian", lambda x: 0.5 * _gaussian(x), torch.special.ndtr, torch.special.ndtri),
)
# 1 everywhere: the plain straight-through estimator.
identity_kernel = Kernel(
    "identity",
    torch.ones_like,
    "the identity kernel has no noise: a constant is not integrable. It is the limit of uniform noise "
    "on [-c, c], rescaled by c, as c grows",
)
# The derivative of SwishSign with sharpness 5 (Darabi et al. 2018).
swish_sign_kernel = Kernel(
    "swish-sign",
    _swish_sign,
    "the SwishSign kernel has no noise: it is negative for |beta x| > 2.40, and a density is not",
)

KERNELS: dict[str, Kernel] = {
    kernel.name: kernel
    for kernel in (
        hard_tanh_kernel, bireal_kernel, tanh_kernel, gaussian_kernel, identity_kernel, swish_sign_kernel,
    )
}  # fmt: skip
_BY_NOISE = {kernel.noise.name: kernel for kernel in KERNELS.values() if isinstance(kernel.noise, NoiseLaw)}


def ede_kernel(sharpness: float) -> Kernel:
    """Return the error decay estimator's kernel max(1/t, 1) t (1 - tanh(t x)^2) of IR-Net (Qin et al. 2020).

    It is `tanh_kernel` at sharpness t = 1.  For t < 1 its integral is 2 / t: backpropagation through it gives
    1 / t times the exact gradient of logistic noise with scale 1 / (2 t).

    Parameters
    ----------
    sharpness : float
        t > 0, about 0.1 at the start of training and 10 at the end.

    Examples
    --------
    >>> ede_kernel(0.1)(torch.tensor([0.0, 2000.0]))
    tensor([1., 0.])
    """
    sharpness = checks.scalar("sharpness", sharpness, positive=True)
    height = max(sharpness, 1.0)
    return Kernel(
        f"ede, t = {sharpness:g}", lambda x: height * _tanh(sharpness * x), logistic(2.0 * sharpness)
    )


def as_kernel(kernel: str | Kernel | KernelFunction) -> Kernel:
    """Return a kernel by its name in `KERNELS`, as it is, or around a function.

    Raises
    ------
    ValueError
        For an unknown name.
    TypeError
        For what is neither a name nor callable.

    Examples
    --------
    >>> as_kernel("bi-real") is bireal_kernel, as_kernel(torch.ones_like).name
    (True, 'ones_like')
    """
    if isinstance(kernel, Kernel):
        return kernel
    if isinstance(kernel, str):
        if kernel not in KERNELS:
            raise ValueError(
                f"kernel must be one of {', '.join(map(repr, KERNELS))}, or a function; found {kernel!r}"
            )
        return KERNELS[kernel]
    if not callable(kernel):
        raise TypeError(f"kernel must be a name or a function; found {type(kernel).__name__}")
    return Kernel(getattr(kernel, "__name__", type(kernel).__name__), kernel)


def ste_kernel(noise: str | NoiseLaw) -> Kernel:
    """Return the kernel that is exact for the noise: 2 f(-x), twice its density.

    Parameters
    ----------
    noise : {"uniform", "triangular", "logistic", "gaussian"} or NoiseLaw
        The law of e, one of your own included.

    Raises
    ------
    ValueError
        For any other name.

    Examples
    --------
    >>> ste_kernel("triangular") is bireal_kernel
    True
    """
    if isinstance(noise, NoiseLaw):
        known = _BY_NOISE.get(noise.name)
        if known is not None and known.noise is noise:
            return known
        return Kernel(f"of {noise.name} noise", lambda x: 2.0 * noise.density(-x), noise)
    if noise not in _BY_NOISE:
        raise ValueError(f"noise must be one of {', '.join(map(repr, _BY_NOISE))}; found {noise!r}")
    return _BY_NOISE[noise]


def noise_of(kernel: str | Kernel | KernelFunction) -> NoiseLaw:
    """Return the noise for which a straight-through kernel is, up to a positive constant, the exact gradient.

    Parameters
    ----------
    kernel : str, Kernel or callable
        A kernel, its name in `KERNELS`, the name of a noise law, or a function of your own from tensors to
        tensors of the same shape.  Such a function is integrated numerically, from 2^-100 to 2^100 on both
        sides of zero: F is accurate to about 1e-10.

    Raises
    ------
    ValueError
        For the identity and SwishSign, which are no density's; for a function of your own that is negative
        somewhere, not integrable, zero or not finite, with the reason; and for unknown names.
    TypeError
        If the kernel is neither a name nor callable.

    Examples
    --------
    >>> noise_of(hard_tanh_kernel).name
    'uniform'
    >>> laplace = noise_of(lambda x: torch.exp(-x.abs()))
    >>> laplace.cumulative(torch.tensor([0.0, math.log(2.0)])).tolist()
    [0.5, 0.75]
    >>> noise_of(lambda x: x.abs() <= 1e6)  # not a tensor of numbers
    Traceback (most recent call last):
    TypeError: kernel must return real numbers; found dtype torch.bool
    """
    if isinstance(kernel, str) and kernel in _BY_NOISE:
        return _BY_NOISE[kernel].law()
    return as_kernel(kernel).law()
