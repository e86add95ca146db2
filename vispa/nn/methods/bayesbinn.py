"""BayesBiNN: natural parameters of independent signs, relaxed samples of them, and a natural gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from solvers import checks
from vispa.nn.methods.base import Method, TransformedWeight, random_signs
from vispa.nn.methods.surrogate import signs, straight_through
from vispa.nn.weights.autograd import working_dtype
from vispa.nn.weights.binary_weight import BinaryWeight
from vispa.nn.weights.layout import Layout
from vispa.nn.weights.noise_scope import Noise

__all__ = ["BayesBiNN", "NaturalWeight", "concrete_noise", "concrete_weight", "natural_scale"]

# As published, in both places where a fraction could be 0 / 0.
EPS = 1e-10


def concrete_noise(uniform: Tensor) -> Tensor:
    """Return ``log(u / (1 - u)) / 2``, logistic noise of scale 1/2, for u uniform on (0, 1)."""
    return 0.5 * torch.log(uniform / (1.0 - uniform))


def natural_scale(weight: Tensor, mean: Tensor, temperature: float) -> Tensor:
    r"""Return :math:`s = \frac{(1 - w^2 + \epsilon) / \tau}{1 - \mu^2 + \epsilon}`, epsilon = 1e-10.

    The derivative of the relaxed sample by the mean. In float32 ``1 - mu^2`` is exactly 0 from
    ``|lambda| = 9.01`` on, in float64 from 18.4 on: the method depends on the precision.
    """
    return ((1.0 - weight * weight + EPS) / temperature) / (1.0 - mean * mean + EPS)


def concrete_weight(natural: Tensor, noise: Tensor, mean: Tensor, temperature: float) -> Tensor:
    r"""Return the relaxed sample :math:`\tanh((\lambda + \delta) / \tau)`, its gradient times `natural_scale`.

    Parameters
    ----------
    natural : Tensor
        lambda, half the log odds of +1.
    noise : Tensor
        From `concrete_noise`.
    mean : Tensor
        mu, ``tanh(lambda)`` or, as published, that of the step before.
    temperature : float
        tau > 0.

    Examples
    --------
    >>> natural = torch.tensor([0.0, 1.0], requires_grad=True)
    >>> weight = concrete_weight(natural, torch.zeros(2), torch.zeros(2), 1.0)
    >>> weight.sum().backward()
    >>> natural.grad
    tensor([1.0000, 0.4200])
    """
    weight = torch.tanh((natural.detach() + noise) / temperature)
    return straight_through(weight, natural_scale(weight, mean, temperature) * natural)


class NaturalWeight(TransformedWeight):
    """A weight of `BayesBiNN`: the mean holds lambda; ``stale_mean`` is mu before the last step."""

    own_optimizer: ClassVar[str] = "vispa.BayesBiNN"
    stale_mean: Tensor | None

    def __init__(self, mean: Tensor, layout: Layout, method: BayesBiNN) -> None:
        super().__init__(mean, layout, channel_scale=method.channel_scale)
        # Empty: it follows the layer's dtype and device.
        self.register_buffer("like_mean", mean.detach().new_empty(0), persistent=False)
        stale = torch.zeros_like(mean) if method.stale_mean else None
        self.register_buffer("stale_mean", stale)

    def draw(self) -> Noise:
        """Draw logistic noise of scale 1/2, one a weight, in rows."""
        like: Tensor = self.like_mean  # type: ignore[assignment]
        shape, dtype = (self.layout.out_channels, self.layout.fan_in), working_dtype(like.dtype)
        # On the open interval: the logarithms are finite.
        tiny = torch.finfo(dtype).eps
        return concrete_noise(torch.rand(shape, dtype=dtype, device=like.device).clamp(tiny, 1.0 - tiny))

    def binary(self, rows: Tensor, noise: Noise | None) -> Tensor:
        """Return signs drawn with their odds, or the likelier ones."""
        latent = rows
        if isinstance(noise, Tensor):
            latent = rows + noise.view(rows.shape).to(rows.dtype)
        elif self.stale_mean is not None:
            # A tie is -1 here, as published.
            return straight_through(-signs(-self.layout.rows(self.stale_mean), False), rows)
        return straight_through(signs(latent, False), rows)

    def relaxed(self, rows: Tensor, noise: Noise | None) -> Tensor:
        """Return the relaxed sample."""
        if not isinstance(noise, Tensor):
            return self.binary(rows, noise)
        stale = self.stale_mean
        mean = torch.tanh(rows.detach()) if stale is None else self.layout.rows(stale)
        return concrete_weight(rows, noise.view(rows.shape).to(rows.dtype), mean, self.method.temperature)

    @torch.no_grad()
    def start(self, mean: Tensor) -> None:
        """Draw natural parameters of one size, their signs at random, or by Xavier's law."""
        if self.method.initial_size is None:
            super().start(mean)
        else:
            random_signs(mean, self.method.initial_size)
        self._keep_stale(mean)

    def latent_mean(self, values: Tensor) -> Tensor:
        """Return natural parameters of mean magnitude 1."""
        return values / values.abs().mean()

    @torch.no_grad()
    def load(self, mean: Tensor, values: Tensor, noise_ratio: float | None) -> None:
        """Take natural parameters from float weights."""
        super().load(mean, values, noise_ratio)
        self._keep_stale(mean)

    @torch.no_grad()
    def before_step(self, mean: Tensor) -> None:
        """Remember mu of the natural parameters before the step, as the published code does."""
        self._keep_stale(mean)

    def _keep_stale(self, mean: Tensor) -> None:
        if self.stale_mean is not None:
            self.stale_mean.copy_(torch.tanh(mean))


@dataclass(frozen=True)
class BayesBiNN(Method):
    """Independent signs of natural parameters lambda, relaxed samples in training, a natural gradient.

    Its steps are those of :class:`vispa.BayesBiNN`, which takes the published number of samples; any optimizer
    will do.

    Parameters
    ----------
    temperature : float, default 1e-10
        tau > 0 of the relaxation; at the default a sample is a sign.
    initial_size : float, optional
        Size of lambda at the start: 10, as published; None draws it by Xavier's law.
    stale_mean : bool, default False
        As published, mu in the gradient's scale and in evaluation is that before the last step.
    channel_scale : {"learned", "mean", "none"}
        ``alpha``: a parameter; ``mean |mean_i|`` over the channel, without a gradient; or 1, as published.

    Notes
    -----
    The method depends on the precision: see `natural_scale`.

    References
    ----------
    Meng, Bachmann and Khan, Training Binary Neural Networks using the Bayesian Learning Rule, ICML 2020.
    """

    name: ClassVar[str] = "bayesbinn"
    weight_class: ClassVar[type[BinaryWeight]] = NaturalWeight
    is_distribution: ClassVar[bool] = True

    temperature: float = 1e-10
    initial_size: float | None = 10.0
    stale_mean: bool = False
    channel_scale: str = "none"

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.scalar("temperature", self.temperature, positive=True)
        checks.boolean("stale_mean", self.stale_mean)
        if self.initial_size is not None:
            checks.scalar("initial_size", self.initial_size, positive=True)
