r"""Straight-through kernels for the sign, and the noise that makes each of them exact.

For w = sgn(mu + e), e with density f, the derivative of E[w] with respect to mu is 2 f(-mu).  So
backpropagating through the sign with a kernel kappa gives the exact gradient of a multilinear loss iff
kappa(-e) / 2 is, up to a positive constant, a density: that of the noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from solvers import checks
from vispa.estimators.kernel_density import KernelDensity

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
    """1 - tanh(x)^2, with relative error below 1e-14 in float64 also where the tanh is 1 to all digits."""
    return 4.0 * torch.sigmoid(2.0 * x) * torch.sigmoid(-2.0 * x)


def gaussian_kernel(x: Tensor) -> Tensor:
    """2 phi(x), twice the standard normal density, with relative error below 2e-13 in float64."""
    return torch.exp(-0.5 * x.square()) * math.sqrt(2.0 / math.pi)


def identity_kernel(x: Tensor) -> Tensor:
    """1 everywhere: the plain straight-through estimator."""
    return torch.ones_like(x)


def swish_sign_kernel(x: Tensor) -> Tensor:
    """Derivative of SwishSign with sharpness beta = 5 (Darabi et al. 2018): negative for |beta x| > 2.40."""
    scaled = (_SWISH_SHARPNESS * x).clamp(-80.0, 80.0)
    return _SWISH_SHARPNESS * (2.0 - scaled * torch.tanh(0.5 * scaled)) / (1.0 + torch.cosh(scaled))


@dataclass(frozen=True)
class EdeKernel:
    """The error decay estimator's kernel max(1/t, 1) t (1 - tanh(t x)^2) of IR-Net (Qin et al. 2020).

    It is `tanh_kernel` at sharpness t = 1.  For t < 1 its integral is 2 / t: backpropagation through it gives
    1 / t times the exact gradient of logistic noise with scale 1 / (2 t).

    Parameters
    ----------
    sharpness : float
        t > 0, about 0.1 at the start of training and 10 at the end.

    Examples
    --------
    >>> EdeKernel(0.1)(torch.tensor([0.0, 2000.0]))
    tensor([1., 0.])
    """

    sharpness: float

    def __post_init__(self) -> None:
        checks.scalar("sharpness", self.sharpness, positive=True)

    def __call__(self, x: Tensor) -> Tensor:
        """Kernel at ``x``."""
        return max(self.sharpness, 1.0) * tanh_kernel(self.sharpness * x)


@dataclass(frozen=True)
class NoiseLaw:
    """A law of the noise e in w = sgn(mu + e).

    Attributes
    ----------
    name : str
        "uniform" on [-1, 1], "triangular" on [-1, 1], "logistic" with scale 1/2 unless it comes from an
        `EdeKernel`, standard "gaussian", or "custom" for the noise of a user's kernel.
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
        """E[sgn(mean + e)] = 1 - 2 F(-mean)."""
        return 1.0 - 2.0 * self.cumulative(-mean)


def _triangular_cumulative(x: Tensor) -> Tensor:
    clipped = x.clamp(-1.0, 1.0)
    return 0.5 + clipped - 0.5 * clipped * clipped.abs()


def _triangular_quantile(p: Tensor) -> Tensor:
    tail = torch.minimum(p, 1.0 - p)
    return torch.copysign(1.0 - torch.sqrt(2.0 * tail), p - 0.5)


def _logistic(steepness: float) -> NoiseLaw:
    """Logistic noise of scale 1 / steepness."""
    return NoiseLaw(
        "logistic",
        lambda x: 0.25 * steepness * tanh_kernel(0.5 * steepness * x),
        lambda x: torch.sigmoid(steepness * x),
        lambda p: torch.logit(p) / steepness,
    )


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
    "logistic": _logistic(2.0),
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


def kernel_named(name: str) -> Kernel:
    """Kernel of this module by its name.

    Raises
    ------
    ValueError
        For any but "hard-tanh", "bi-real", "tanh", "gaussian", "identity" and "swish-sign".

    Examples
    --------
    >>> kernel_named("bi-real") is bireal_kernel
    True
    """
    if name not in _NAMES:
        raise ValueError(
            f"kernel must be one of {', '.join(map(repr, _NAMES))}, or a function; found {name!r}"
        )
    return _NAMES[name]


def ste_kernel(noise: str | NoiseLaw) -> Kernel:
    """Kernel that is exact for the noise: 2 f(-x), twice its density.

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
    if isinstance(noise, NoiseLaw) and _LAWS.get(noise.name) is not noise:
        return lambda x: 2.0 * noise.density(-x)
    name = noise.name if isinstance(noise, NoiseLaw) else noise
    if name not in _KERNELS:
        raise ValueError(f"noise must be one of {', '.join(map(repr, _KERNELS))}; found {noise!r}")
    return _KERNELS[name]


def noise_of(kernel: str | Kernel) -> NoiseLaw:
    """Noise for which a straight-through kernel is, up to a positive constant, the exact gradient.

    Parameters
    ----------
    kernel : str or callable
        A kernel of this module, its name ("hard-tanh", "bi-real", "tanh", "gaussian", "identity",
        "swish-sign"), the name of a noise law, or a function of your own from tensors to tensors of the same
        shape.  Such a function is integrated numerically, from 2^-100 to 2^100 on both sides of zero: F is
        accurate to about 1e-10.

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
    if isinstance(kernel, str):
        return _named_law(kernel)
    if not callable(kernel):
        raise TypeError(f"kernel must be a name or a function; found {type(kernel).__name__}")
    if isinstance(kernel, EdeKernel):
        return _logistic(2.0 * kernel.sharpness)
    if kernel in _REFUSED:
        raise ValueError(_REFUSED[kernel])
    for name, known in _KERNELS.items():
        if known is kernel:
            return _LAWS[name]
    density = KernelDensity(lambda x: kernel(-x))
    return NoiseLaw("custom", density, density.cumulative, density.quantile)


def _named_law(name: str) -> NoiseLaw:
    if name in _LAWS:
        return _LAWS[name]
    if name not in _NAMES:
        raise ValueError(
            f"kernel must be a function or one of {', '.join(map(repr, _NAMES))}; found {name!r}"
        )
    return noise_of(_NAMES[name])
