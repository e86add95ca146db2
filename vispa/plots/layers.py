"""Plots of binary layers of method ``vispa``: how sure each weight is, and what the weights share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vispa.plots.canvas import AFTER, BEFORE, INK, axes_for, legend_beside

if TYPE_CHECKING:
    from torch import nn

__all__ = ["LatentLayer", "latent_correlations", "latent_layers", "latent_means"]

LAYER_COLOURS = ("#0f6e84", "#7fb7c2", "#d9b26f", "#d1693a")
BINS = 60


class LatentLayer(NamedTuple):
    """What one layer's posterior looks like at one moment.

    Attributes
    ----------
    name : str
        Of the layer in its model.
    means : (n,) ndarray
        Latent means in the gauge mean^2 + variance = 1: at -1 and +1 the sign is certain.
    spectrum : (K,) ndarray
        Eigenvalues of the correlation matrix of the latent noise, by their sum, the largest first.
    """

    name: str
    means: NDArray[np.float64]
    spectrum: NDArray[np.float64]


def latent_layers(model: nn.Module) -> list[LatentLayer]:
    r"""The latent means and the correlation spectrum of every binary layer: a snapshot, for before and after.

    Parameters
    ----------
    model : Module
        With binary layers of method ``"vispa"``.

    Returns
    -------
    list of LatentLayer
        In the order of the model.

    Raises
    ------
    TypeError, ValueError
        If a binary layer has no factor, or the model no binary layer.

    Notes
    -----
    The correlation matrix is :math:`Z Z^T` with rows of unit length; its eigenvalues are those of the (K, K) matrix
    :math:`Z^T Z`: O(n K^2). A weight's own noise (``residual=True``) counts in the means, not in the spectrum.

    Examples
    --------
    >>> import torch, vispa
    >>> from vispa import plots
    >>> model = vispa.binarize(torch.nn.Linear(16, 8), keep=(), rank=2)
    >>> [(layer.means.shape, layer.spectrum.shape) for layer in plots.latent_layers(model)]
    [((128,), (2,))]
    """
    from vispa.nn import binary_layers
    from vispa.nn.methods.vispa import LowRankWeight

    layers = []
    for found in binary_layers(model):
        weight = found.weight
        if not isinstance(weight, LowRankWeight):
            raise TypeError(
                "model must have layers of method 'vispa', whose rows hold a mean and a factor; found "
                f"{found.name or 'the model itself'} of method {weight.method.name!r}"
            )
        factor = weight.factor.detach().double().cpu()
        rows = factor.transpose(1, 2).reshape(-1, factor.shape[1]).numpy() / math.sqrt(weight.scale)
        means = weight.layout.rows(found.mean.detach()).double().cpu().flatten().numpy()
        shared = np.square(rows).sum(axis=1)
        variance = shared.copy()
        if weight.root_residual is not None:
            root = weight.layout.rows(weight.root_residual.detach()).double().cpu().flatten().numpy()
            variance += np.square(root) / weight.scale
        tiny = np.finfo(float).tiny
        unit = rows / np.sqrt(np.maximum(shared, tiny))[:, None]
        shares = np.maximum(np.linalg.eigvalsh(unit.T @ unit)[::-1], 0.0)
        gauge = np.sqrt(np.maximum(means**2 + variance, tiny))
        layers.append(LatentLayer(found.name, means / gauge, shares / max(float(shares.sum()), tiny)))
    return layers


def latent_means(
    model: nn.Module | Sequence[LatentLayer],
    *,
    before: Sequence[LatentLayer] | None = None,
    axes: Any = None,
) -> Any:
    """Axes with a histogram of latent means of all layers: how sure each binary weight is.

    Parameters
    ----------
    model : Module or sequence of LatentLayer
        A model with layers of method ``"vispa"``, or what `latent_layers` found of one.
    before : sequence of LatentLayer, optional
        An earlier moment of the same model, drawn behind.
    axes : matplotlib Axes, optional
        Where to draw; new ones by default.

    Returns
    -------
    Axes
        A step curve of per cent of the weights, logarithmic; a filled one for ``before``.

    Raises
    ------
    TypeError, ValueError
        As for `latent_layers`.
    ImportError
        If matplotlib is missing.

    Examples
    --------
    >>> import torch, vispa
    >>> from vispa import plots
    >>> model = vispa.binarize(torch.nn.Linear(16, 8), keep=(), rank=2)
    >>> plots.latent_means(model).get_yscale()
    'log'
    """
    after = _snapshot(model)
    axes = axes_for(axes, "plots.latent_means")
    edges = np.linspace(-1.0, 1.0, BINS + 1)
    moments = [(after, AFTER, "after training" if before is not None else "latent means")]
    if before is not None:
        moments.insert(0, (_snapshot(before), BEFORE, "before training"))
    for layers, colour, label in moments:
        values = np.concatenate([layer.means for layer in layers])
        shares = 100.0 * np.histogram(values, edges)[0] / values.size
        axes.stairs(shares, edges, fill=colour == BEFORE, color=colour, linewidth=1.8, label=label)
    axes.set_yscale("log")
    axes.set_xlabel("latent mean, in units of its root mean square")
    axes.set_ylabel("weights (%, logarithmic)")
    legend_beside(axes)
    return axes


def latent_correlations(
    model: nn.Module | Sequence[LatentLayer],
    *,
    before: Sequence[LatentLayer] | None = None,
    axes: Any = None,
) -> Any:
    """Axes with the shares of each layer's latent correlation by direction: what its weights learnt to share.

    Parameters
    ----------
    model, before, axes
        As for `latent_means`; ``before`` has the same layers.

    Returns
    -------
    Axes
        A group of bars a direction, one bar a layer, in per cent; black lines at what was before. Without
        structure all bars are 100 / K high.

    Raises
    ------
    TypeError, ValueError
        As for `latent_layers`, and if ``before`` has other layers.
    ImportError
        If matplotlib is missing.

    Examples
    --------
    >>> import torch, vispa
    >>> from vispa import plots
    >>> model = vispa.binarize(torch.nn.Linear(16, 8), keep=(), rank=2)
    >>> axes = plots.latent_correlations(model)
    >>> round(sum(bar.get_height() for bar in axes.patches))
    100
    """
    after = _snapshot(model)
    earlier = None if before is None else _snapshot(before)
    if earlier is not None and [layer.name for layer in earlier] != [layer.name for layer in after]:
        raise ValueError(
            f"before must have the layers {[layer.name for layer in after]}; "
            f"found {[layer.name for layer in earlier]}"
        )
    axes = axes_for(axes, "plots.latent_correlations")
    width = 0.8 / len(after)
    for index, layer in enumerate(after):
        places = np.arange(1, layer.spectrum.size + 1) + (index - (len(after) - 1) / 2) * width
        colour = LAYER_COLOURS[index % len(LAYER_COLOURS)]
        axes.bar(places, 100 * layer.spectrum, 0.92 * width, color=colour, label=f"binary layer {index + 1}")
        if earlier is not None:
            ends = places - 0.46 * width, places + 0.46 * width
            label = "before training" if index == len(after) - 1 else None
            axes.hlines(100 * earlier[index].spectrum, *ends, color=INK, linewidth=1.4, label=label)
    axes.set_xticks(range(1, max(layer.spectrum.size for layer in after) + 1))
    axes.set_xlabel("direction of the shared noise")
    axes.set_ylabel("share of the latent correlation (%)")
    legend_beside(axes)
    return axes


def _snapshot(model: Any) -> list[LatentLayer]:
    if isinstance(model, Sequence) and model and all(isinstance(each, LatentLayer) for each in model):
        return list(model)
    if isinstance(model, Sequence):
        raise TypeError(
            "model must be a Module or a list of LatentLayer, from latent_layers(model); found a "
            f"{type(model).__name__} of {sorted({type(each).__name__ for each in model}) or 'nothing'}"
        )
    return latent_layers(model)
