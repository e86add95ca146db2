r"""Straight-through kernels for the sign, and the noise that makes each of them exact.

For w = sgn(mu + e), e with a symmetric density f, the derivative of E[w] is 2 f(mu).  So backpropagating
through the sign with a kernel kappa gives the exact gradient of a multilinear loss iff kappa / 2 is, up to a
positive constant, a density: that of the noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Kernel = Callable[[Tensor], Tensor]

_SWISH_SHARPNESS = 5.0


def hard_tanh_kernel(x: Tensor) -> Tensor:
    """1 where |x| <= 1, else 0: the derivative of clamp(x, -1, 1)."""
    return (x.abs() <= 1).to(x.dtype)


def bireal_kernel(x: Tensor) -> Tensor:
    """max(2 - |2x|, 0), the kernel of Bi-Real Net (Liu et al. 2018).

    Examples
    --------
    >>> bireal_kernel(torch.tensor([-2.0, 0.0, 0.5]))
    tensor([0., 2., 1.])
    """
    return (2.0 - (2.0 * x).abs()).clamp_min(0.0)


def tanh_kernel(x: Tensor) -> Tensor:
    """1 - tanh(x)^2."""
    return 1.0 - torch.tanh(x).square()


def gaussian_kernel(x: Tensor) -> Tensor:
    """2 phi(x), twice the standard normal density."""
    return torch.exp(-0.5 * x.square()) * math.sqrt(2.0 / math.pi)


def identity_kernel(x: Tensor) -> Tensor:
    """1 everywhere: the plain straight-through estimator."""
    return torch.ones_like(x)


def swish_sign_kernel(x: Tensor) -> Tensor:
    """Derivative of SwishSign with sharpness beta = 5 (Darabi et al. 2018): negative for |beta x| > 2.40."""
    scaled = (_SWISH_SHARPNESS * x).clamp(-80.0, 80.0)
    return _SWISH_SHARPNESS * (2.0 - scaled * torch.tanh(0.5 * scaled)) / (1.0 + torch.cosh(scaled))


@dataclass(frozen=True)
class NoiseLaw:
    """A symmetric law of the noise e in w = sgn(mu + e).

    Attributes
    ----------
    name : {"uniform", "triangular", "logistic", "gaussian"}
        On [-1, 1], on [-1, 1], with scale 1/2, standard.
    density, cumulative, quantile : callable
        f, F and the inverse of F, on tensors.
    """

    name: str
    density: Kernel
    cumulative: Kernel
    quantile: Kernel

    def sample(self, shape: tuple[int, ...], *, generator: torch.Generator | None = None) -> Tensor:
        """Draw float64 noise on the CPU by inversion.

        Examples
        --------
        >>> noise_of("uniform").sample((3,), generator=torch.Generator().manual_seed(0)).shape
        torch.Size([3])
        """
        if generator is None:
            generator = torch.Generator()
            generator.seed()
        # Open interval: the quantile of 0 may be infinite.
        uniform = torch.rand(shape, dtype=torch.float64, generator=generator).clamp_min(2.0**-53)
        return self.quantile(uniform)

    def mean_sign(self, mean: Tensor) -> Tensor:
        """E[sgn(mean + e)] = 2 F(mean) - 1."""
        return 2.0 * self.cumulative(mean) - 1.0


def _triangular_cumulative(x: Tensor) -> Tensor:
    clipped = x.clamp(-1.0, 1.0)
    return 0.5 + clipped - 0.5 * clipped * clipped.abs()


def _triangular_quantile(p: Tensor) -> Tensor:
    tail = torch.minimum(p, 1.0 - p)
    return torch.copysign(1.0 - torch.sqrt(2.0 * tail), p - 0.5)


_LAWS = {
    "uniform": NoiseLaw(
        "uniform",
        lambda x: 0.5 * hard_tanh_kernel(x),
        lambda x: 0.5 * (1.0 + x.clamp(-1.0, 1.0)),
        lambda p: 2.0 * p - 1.0,
    ),
    "triangular": NoiseLaw(
        "triangular", lambda x: 0.5 * bireal_kernel(x), _triangular_cumulative, _triangular_quantile
    ),
    "logistic": NoiseLaw(
        "logistic",
        lambda x: 0.5 * tanh_kernel(x),
        lambda x: torch.sigmoid(2.0 * x),
        lambda p: 0.5 * torch.logit(p),
    ),
    "gaussian": NoiseLaw(
        "gaussian", lambda x: 0.5 * gaussian_kernel(x), torch.special.ndtr, torch.special.ndtri
    ),
}
_KERNELS: dict[str, Kernel] = {
    "uniform": hard_tanh_kernel,
    "triangular": bireal_kernel,
    "logistic": tanh_kernel,
    "gaussian": gaussian_kernel,
}
_NAMES: dict[str, Kernel] = {
    "hard-tanh": hard_tanh_kernel,
    "bi-real": bireal_kernel,
    "tanh": tanh_kernel,
    "gaussian": gaussian_kernel,
    "identity": identity_kernel,
    "swish-sign": swish_sign_kernel,
}
_REFUSED = {
    identity_kernel: (
        "the identity kernel has no noise: a constant is not integrable. It is the limit of uniform noise "
        "on [-c, c], rescaled by c, as c grows"
    ),
    swish_sign_kernel: (
        "the SwishSign kernel has no noise: it is negative for |beta x| > 2.40, and a density is not"
    ),
}


def ste_kernel(noise: str | NoiseLaw) -> Kernel:
    """Kernel that is exact for the noise: twice its density.

    Parameters
    ----------
    noise : {"uniform", "triangular", "logistic", "gaussian"} or NoiseLaw
        The law of e.

    Raises
    ------
    ValueError
        For any other name.

    Examples
    --------
    >>> ste_kernel("triangular") is bireal_kernel
    True
    """
    name = noise.name if isinstance(noise, NoiseLaw) else noise
    if name not in _KERNELS:
        raise ValueError(f"noise must be one of {', '.join(map(repr, _KERNELS))}; found {noise!r}")
    return _KERNELS[name]


def noise_of(kernel: str | Kernel) -> NoiseLaw:
    """Noise for which a straight-through kernel is the exact gradient.

    Parameters
    ----------
    kernel : str or callable
        A kernel of this module, its name ("hard-tanh", "bi-real", "tanh", "gaussian", "identity",
        "swish-sign"), or the name of a noise law.

    Raises
    ------
    ValueError
        For the identity and SwishSign, which are no density's, with the reason; and for unknown kernels.

    Examples
    --------
    >>> noise_of(hard_tanh_kernel).name
    'uniform'
    """
    if isinstance(kernel, str) and kernel in _LAWS:
        return _LAWS[kernel]
    function = _NAMES.get(kernel) if isinstance(kernel, str) else kernel
    if function in _REFUSED:
        raise ValueError(_REFUSED[function])
    for name, known in _KERNELS.items():
        if known is function:
            return _LAWS[name]
    raise ValueError(
        f"kernel must be one of {', '.join(map(repr, _NAMES))} or such a function; found {kernel!r}"
    )
