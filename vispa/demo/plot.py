"""The plot of the demonstration: what a posterior over binary networks looks like before and after training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from vispa.nn import binary_layers
from vispa.nn.methods.vispa import LowRankWeight
from vispa.training.compare import Job
from vispa.training.data.split import Split
from vispa.training.recipes import SHOWN_METHODS
from vispa.training.run import Result, prepare, train

INK, MUTED, GRID = "#22262e", "#7a808c", "#e6e8ec"
BEFORE, AFTER = "#c3c8d1", "#0f6e84"
COLOURS = dict(
    zip(
        SHOWN_METHODS,
        ("#0f6e84", "#d1693a", "#8a6fb0", "#5a9367", "#b8963e", "#c3c8d1", "#7a808c"),
        strict=True,
    )
)
LAYER_COLOURS = ("#0f6e84", "#7fb7c2", "#d9b26f", "#d1693a")


class Layer(NamedTuple):
    """Standardised latent means, and shares of the factor's variance by direction, of one layer."""

    name: str
    means: NDArray[np.float64]
    spectrum: NDArray[np.float64]


def latent_layers(model: nn.Module) -> list[Layer]:
    """Means in the gauge mean^2 + variance = 1, and the spectrum of the latent correlation matrix.

    That matrix is Z Z^T with rows of unit length; its eigenvalues, divided by their sum, are the shares.
    """
    layers = []
    for found in binary_layers(model):
        if not isinstance(found.weight, LowRankWeight):
            raise TypeError(f"layer {found.name!r} has no factor; found {type(found.weight).__name__}")
        factor = found.weight.factor.detach().double()
        rows = factor.transpose(1, 2).reshape(-1, factor.shape[1]).numpy()
        rows = rows / math.sqrt(found.weight.scale)
        means = found.mean.detach().double().flatten().numpy()
        variance = np.square(rows).sum(axis=1)
        unit = rows / np.sqrt(np.maximum(variance, np.finfo(float).tiny))[:, None]
        shares = np.linalg.eigvalsh(unit.T @ unit)[::-1]
        layers.append(Layer(found.name, means / np.sqrt(means**2 + variance), shares / shares.sum()))
    return layers


def save_plot(path: Path, parts: Split, job: Job, results: Sequence[Result]) -> None:
    """Draw latent means, correlation spectrum and learning curves; write a PNG.

    Parameters
    ----------
    path : Path
        Of the image.
    parts, job
        A finished run of ``vispa``, read back from its checkpoint.
    results : sequence of Result
        Of all methods, for the curves.
    """
    with torch.random.fork_rng(devices=[]):
        before = latent_layers(prepare(parts, job.recipe, seed=job.seed).model)
    after = latent_layers(train(parts, job.recipe, seed=job.seed, checkpoint=job.checkpoint).network)
    _draw(path, before, after, results)


def _draw(path: Path, before: list[Layer], after: list[Layer], results: Sequence[Result]) -> None:
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    style: Any = {
        "font.family": "DejaVu Sans", "font.size": 10, "text.color": INK, "axes.labelcolor": INK,
        "axes.edgecolor": MUTED, "xtick.color": MUTED, "ytick.color": MUTED, "axes.linewidth": 0.8,
        "axes.spines.top": False, "axes.spines.right": False, "axes.grid.axis": "y", "axes.grid": True,
        "grid.color": GRID, "axes.axisbelow": True, "axes.titlelocation": "left", "axes.titlesize": 11.5,
        "axes.titleweight": "bold", "axes.titlepad": 42, "legend.edgecolor": "none",
        "legend.facecolor": "white", "legend.framealpha": 0.9, "legend.fancybox": False,
    }  # fmt: skip
    with mpl.rc_context(style):
        layout = ConstrainedLayoutEngine(w_pad=0.25, h_pad=0.15)
        figure = Figure(figsize=(15, 5.2), layout=layout, facecolor="white")
        FigureCanvasAgg(figure)
        axes = figure.subplots(1, 3)
        _draw_means(axes[0], before, after)
        _draw_spectrum(axes[1], before, after)
        _draw_curves(axes[2], results)
        figure.savefig(path, dpi=150)


def _caption(axis: Any, title: str, subtitle: str) -> None:
    axis.set_title(title)
    axis.text(
        0, 1.035, subtitle, transform=axis.transAxes, color=MUTED, fontsize=9.5, va="bottom", linespacing=1.35
    )


def _draw_means(axis: Any, before: list[Layer], after: list[Layer]) -> None:
    edges = np.linspace(-1, 1, 61)
    for layers, colour, label in ((before, BEFORE, "before training"), (after, AFTER, "after training")):
        values = np.concatenate([layer.means for layer in layers])
        heights = np.histogram(values, edges)[0] / values.size
        filled = label.startswith("before")
        axis.stairs(100 * heights, edges, fill=filled, color=colour, linewidth=1.8, label=label)
    undecided = np.mean(np.abs(np.concatenate([layer.means for layer in after])) < 0.9)
    axis.set_xlabel("latent mean, in units of its root mean square")
    axis.set_yscale("log")
    axis.set_ylim(0.02, 300)
    axis.set_yticks([0.1, 1, 10, 100], labels=["0.1", "1", "10", "100"])
    axis.minorticks_off()
    axis.set_ylabel("weights (%, logarithmic)")
    axis.legend(loc="upper center")
    _caption(
        axis,
        "How sure each binary weight is",
        f"−1 and +1: the sign is certain.  After training {100 * undecided:.0f} % lie\nbetween −0.9 and 0.9.",
    )


def _draw_spectrum(axis: Any, before: list[Layer], after: list[Layer]) -> None:
    rank = after[0].spectrum.size
    width = 0.8 / len(after)
    for index, layer in enumerate(after):
        places = np.arange(1, rank + 1) + (index - (len(after) - 1) / 2) * width
        colour = LAYER_COLOURS[index % len(LAYER_COLOURS)]
        axis.bar(places, 100 * layer.spectrum, 0.92 * width, color=colour, label=f"binary layer {index + 1}")
        axis.hlines(
            100 * before[index].spectrum, places - 0.46 * width, places + 0.46 * width, color=INK, linewidth=1.4,
            label="before training" if index == len(after) - 1 else None,
        )  # fmt: skip
    axis.set_xticks(range(1, rank + 1))
    axis.set_xlabel("direction of the shared noise")
    axis.set_ylabel("share of the latent correlation (%)")
    axis.set_ylim(0, 130 * max(layer.spectrum[0] for layer in after))
    axis.legend(loc="upper right", ncols=2)
    _caption(
        axis,
        "What the weights learnt to share",
        f"Eigenvalues of the correlation between weights; {100 / rank:.0f} % each\nwould be no structure at all.",
    )


def _draw_curves(axis: Any, results: Sequence[Result]) -> None:
    lowest = 100.0
    for method in SHOWN_METHODS:
        histories = [result.history for result in results if result.recipe.method == method]
        curves = 100 * np.array([[epoch.validation_accuracy for epoch in history] for history in histories])
        epochs, mean = np.arange(1, curves.shape[1] + 1), curves.mean(axis=0)
        axis.fill_between(
            epochs, curves.min(axis=0), curves.max(axis=0), color=COLOURS[method], alpha=0.13, linewidth=0
        )
        axis.plot(epochs, mean, color=COLOURS[method], linewidth=2, label=f"{method}  {mean[-1]:.1f} %")
        lowest = min(lowest, mean[len(mean) // 4])
    axis.set_ylim(max(0.0, 5 * math.floor(lowest / 5) - 5), 100.5)
    axis.set_xlabel("epoch")
    axis.set_ylabel("validation accuracy of one network (%)")
    # Beside the axes, where it covers no curve.
    axis.legend(
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        title="at the last epoch",
        title_fontsize=9,
        alignment="left",
    )
    images = results[0].training_images
    _caption(
        axis,
        f"Learning digits from {images:,} images",
        f"One network, sgn(mean).  Mean of {len(histories)} seeds; the band runs from\nthe worst seed to the best.",
    )
