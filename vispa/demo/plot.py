"""The plot of the demonstration: what a posterior over binary networks looks like before and after training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vispa.plots.canvas import MUTED, STYLE
from vispa.plots.layers import LatentLayer, latent_correlations, latent_layers, latent_means
from vispa.plots.training import learning_curves
from vispa.training.compare import Job
from vispa.training.data.split import Split
from vispa.training.run import Result, prepare, train

# A sign is called undecided where its latent mean is nearer to zero than this.
UNDECIDED = 0.9


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
    draw(before, after, results).savefig(path, dpi=150)


def draw(before: list[LatentLayer], after: list[LatentLayer], results: Sequence[Result]) -> Any:
    """The figure of three plots, each with its legend where it covers nothing."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    style: Any = {
        **STYLE, "font.family": "DejaVu Sans", "font.size": 10, "axes.titlesize": 11.5,
        "axes.titleweight": "bold", "axes.titlepad": 58,
    }  # fmt: skip
    with mpl.rc_context(style):
        layout = ConstrainedLayoutEngine(w_pad=0.25, h_pad=0.15)
        figure = Figure(figsize=(15, 5.6), layout=layout, facecolor="white")
        FigureCanvasAgg(figure)
        axes = figure.subplots(1, 3)
        _draw_means(axes[0], before, after)
        _draw_correlations(axes[1], before, after)
        _draw_curves(axes[2], results)
        figure.draw_without_rendering()
    return figure


def _caption(axis: Any, title: str, subtitle: str) -> None:
    axis.set_title(title)
    words = axis.text(
        0, 1.085, subtitle, transform=axis.transAxes, color=MUTED, fontsize=9.5, va="bottom", linespacing=1.35
    )
    # Wider than the axes it stands above, whose width it must not take.
    words.set_in_layout(False)


def _legend_above(axis: Any, columns: int) -> None:
    """The legend between the caption and the axes."""
    legend = axis.legend(
        loc="lower left", bbox_to_anchor=(0, 1.0), ncols=columns, borderaxespad=0.2, fontsize=9,
        handlelength=1.2, handletextpad=0.5, columnspacing=1.1, borderpad=0.1,
    )  # fmt: skip
    legend.set_in_layout(False)


def _draw_means(axis: Any, before: list[LatentLayer], after: list[LatentLayer]) -> None:
    latent_means(after, before=before, axes=axis)
    undecided = np.mean(np.abs(np.concatenate([layer.means for layer in after])) < UNDECIDED)
    axis.set_ylim(0.02, 100)
    axis.set_yticks([0.1, 1, 10, 100], labels=["0.1", "1", "10", "100"])
    axis.minorticks_off()
    _legend_above(axis, 2)
    _caption(
        axis,
        "How sure each binary weight is",
        f"−1 and +1: the sign is certain.  After training {100 * undecided:.0f} % lie\n"
        f"between −{UNDECIDED} and {UNDECIDED}.",
    )


def _draw_correlations(axis: Any, before: list[LatentLayer], after: list[LatentLayer]) -> None:
    latent_correlations(after, before=before, axes=axis)
    _legend_above(axis, 3)
    rank = after[0].spectrum.size
    _caption(
        axis,
        "What the weights learnt to share",
        f"Eigenvalues of the correlation between weights; {100 / rank:.0f} % each\nwould be no structure at all.",
    )


def _draw_curves(axis: Any, results: Sequence[Result]) -> None:
    learning_curves(results, axis)
    means = [np.asarray(line.get_ydata(), dtype=np.float64) for line in axis.get_lines()]
    lowest = min(float(mean[mean.size // 4]) for mean in means)
    axis.set_ylim(max(0.0, 5 * math.floor(lowest / 5) - 5), 100.5)
    seeds = len({result.seed for result in results})
    _caption(
        axis,
        f"Learning digits from {results[0].training_images:,} images",
        f"One network, sgn(mean).  Mean of {seeds} seeds; the band runs from\nthe worst seed to the best.",
    )
