"""Dead weights, whose gradient is zero where what follows saturates, the steps they take, and latent histograms."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from solvers import checks

__all__ = ["DeadWeightTracker", "Histogram", "LayerTrace", "latent_histograms"]


class LayerTrace(NamedTuple):
    """What one update of `DeadWeightTracker` found in one layer; root mean squares, nan over no weight.

    Attributes
    ----------
    dead : float
        Share of the weights whose gradient was dead.
    gradient : float
        Of the gradients of the others.
    second_moment_dead, second_moment_live : float
        Of Adam's root second moments; nan where the optimizer keeps none.
    step_dead, step_live : float
        Of the changes since the last update.
    """

    dead: float
    gradient: float
    second_moment_dead: float
    second_moment_live: float
    step_dead: float
    step_live: float


class DeadWeightTracker:
    r"""Watch, layer by layer, the latent weights that no gradient reaches, and whether their optimizer moves them.

    Where a binary activation saturates on every example of a batch, the weights before it have gradient zero.  SGD
    leaves them there.  Adam divides by the root of a second moment that has fallen with the gradients: what comes
    rarely moves them :math:`\sqrt{p}` as far as others, not p as far, and coupled weight decay moves them as fast
    as any gradient would (claim B7 of theory_checks).

    Parameters
    ----------
    model : Module
        A model with binary layers.
    optimizer : Optimizer
        That steps their means; an Adam's second moments are read.
    threshold : float, default 0
        A gradient is dead if its magnitude is at most this times the root mean square of its layer's.

    Raises
    ------
    TypeError, ValueError
        If ``model`` is no module or has no binary layer, ``optimizer`` is no optimizer, or ``threshold`` is
        negative.

    Notes
    -----
    One copy of every mean.

    References
    ----------
    Liu, Shen, Li, Helwegen, Huang and Cheng, How Do Adam and Training Strategies Help BNNs Optimization?,
    ICML 2021.

    Examples
    --------
    >>> import torch, vispa
    >>> model = nn.Sequential(nn.Linear(3, 2, bias=False), vispa.SignActivation("hard-tanh"))
    >>> _ = vispa.binarize(model, keep=(), method="ste", channel_scale="none")
    >>> optimizer = vispa.attach(torch.optim.SGD(model.parameters(), lr=0.1), model)
    >>> tracker = DeadWeightTracker(model, optimizer)
    >>> model(3 * torch.eye(3)).sum().backward()  # all outputs are 3 or -3: the activation is saturated
    >>> optimizer.step()
    >>> tracker.update()["0.weight"].dead
    1.0
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer, *, threshold: float = 0.0) -> None:
        from vispa.nn.conversion.selection import binary_layers

        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"optimizer must be a torch optimizer; found {type(optimizer).__name__}")
        self.threshold = checks.scalar("threshold", threshold, minimum=0.0)
        self.optimizer = optimizer
        found = {id(each.weight): each for each in binary_layers(model)}.values()
        self.layers = {f"{each.name}.{each.attribute}".lstrip("."): each for each in found}
        self.before = {name: each.mean.detach().clone() for name, each in self.layers.items()}
        self.history: list[dict[str, LayerTrace]] = []

    @torch.no_grad()
    def update(self) -> dict[str, LayerTrace]:
        """Return what the last step found, by layer, and append it to ``history``.

        Call it after the optimizer's step and before the gradients are cleared.  Layers without a gradient are
        left out.
        """
        found: dict[str, LayerTrace] = {}
        for name, layer in self.layers.items():
            mean = layer.mean
            if mean.grad is not None:
                found[name] = self._trace(mean, mean.grad, mean - self.before[name].to(mean.device))
            self.before[name] = mean.detach().clone()
        self.history.append(found)
        return found

    def _trace(self, mean: Tensor, gradient: Tensor, change: Tensor) -> LayerTrace:
        dead = gradient.abs() <= self.threshold * gradient.square().mean().sqrt()
        state: dict[str, Any] = self.optimizer.state.get(mean, {})
        moments = state.get("exp_avg_sq")
        return LayerTrace(
            float(dead.double().mean()),
            _root_mean_square(gradient[~dead]),
            math.nan if moments is None else _root_mean_square(moments[dead].sqrt()),
            math.nan if moments is None else _root_mean_square(moments[~dead].sqrt()),
            _root_mean_square(change[dead]),
            _root_mean_square(change[~dead]),
        )


class Histogram(NamedTuple):
    """Counts (bins,) of latent weights between edges (bins + 1,), both on the CPU."""

    counts: Tensor
    edges: Tensor


def latent_histograms(model: nn.Module, bins: int = 50) -> dict[str, Histogram]:
    """The histogram of the latent weights of every binary layer, by name, from minus to plus the largest magnitude.

    Parameters
    ----------
    model : Module
        A model with binary layers.
    bins : int, default 50
        Of equal width.

    Raises
    ------
    TypeError, ValueError
        If ``model`` is no module or has no binary layer, its latent weights are not finite, or ``bins`` is below 1.

    Examples
    --------
    >>> import torch, vispa
    >>> model = vispa.binarize(nn.Linear(2, 1, bias=False), keep=(), method="ste")
    >>> _ = model.parametrizations.weight.original.data.copy_(torch.tensor([[-2.0, 0.5]]))
    >>> latent_histograms(model, bins=4)
    {'weight': Histogram(counts=tensor([1, 0, 1, 0]), edges=tensor([-2., -1.,  0.,  1.,  2.], dtype=torch.float64))}
    """
    from vispa.nn.conversion.selection import binary_layers

    bins = checks.integer("bins", bins, minimum=1)
    found: dict[str, Histogram] = {}
    for layer in binary_layers(model):
        values = layer.mean.detach().double().cpu().flatten()
        name = f"{layer.name}.{layer.attribute}".lstrip(".")
        if not bool(torch.isfinite(values).all()):
            raise ValueError(f"model must hold finite latent weights; those of {name!r} are NaN or infinite")
        limit = float(values.abs().max()) or 1.0
        counts = torch.histc(values, bins, -limit, limit).long()
        found[name] = Histogram(counts, torch.linspace(-limit, limit, bins + 1, dtype=torch.float64))
    return found


def _root_mean_square(values: Tensor) -> float:
    return math.nan if values.numel() == 0 else float(values.double().square().mean().sqrt())
