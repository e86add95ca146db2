"""The reliability diagram: whether a network is right as often as it says."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from solvers import checks
from vispa.plots.canvas import AFTER, INK, MUTED, axes_for, legend_beside

__all__ = ["ReliabilityBins", "reliability", "reliability_bins"]

# Rows of probabilities of float32 softmax, or of half precision cast up, add up to one within this.
SUM_TOLERANCE = 1e-2


class ReliabilityBins(NamedTuple):
    r"""Predictions by their confidence.

    Attributes
    ----------
    edges : (bins + 1,) ndarray
        Of the bins, from 0 to 1; a confidence on an edge belongs to the bin above it, 1 to the last.
    counts : (bins,) ndarray of int
        Predictions in each.
    confidence, accuracy : (bins,) ndarray
        Means over them; nan in an empty bin.
    error : float
        The expected calibration error: the mean of \|accuracy - confidence\| over bins, weighted by counts.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    error: float


def reliability_bins(probabilities: ArrayLike, labels: ArrayLike, *, bins: int = 10) -> ReliabilityBins:
    """The accuracy and the mean confidence of predictions, binned by confidence, and the calibration error.

    Parameters
    ----------
    probabilities : (m, classes) array_like
        Of each class, rows adding up to one: ``softmax`` of a network's logits, or the mean of several.
    labels : (m,) array_like of int
        From 0 to classes - 1.
    bins : int, optional
        At least 1, of equal width.

    Returns
    -------
    ReliabilityBins
        ``error`` is the ``ece`` of `vispa.nn.quality`, which takes logits.

    Raises
    ------
    TypeError, ValueError
        If the rows are no probabilities, or labels do not fit them.

    Notes
    -----
    Guo, Pleiss, Sun and Weinberger (2017).

    Examples
    --------
    >>> found = reliability_bins([[0.8, 0.2], [0.8, 0.2], [0.3, 0.7]], [0, 1, 1], bins=2)
    >>> found.counts.tolist(), round(found.error, 3)
    ([0, 3], 0.1)
    """
    table = checks.real_array("probabilities", probabilities, dimensions=2)
    bins = checks.integer("bins", bins, minimum=1)
    if table.size == 0:
        raise ValueError(f"probabilities must not be empty; found shape {table.shape}")
    astray = float(np.abs(table.sum(axis=1) - 1.0).max())
    if table.min() < 0 or astray > SUM_TOLERANCE:
        raise ValueError(
            "probabilities must be non-negative rows that add up to one; found entries from "
            f"{table.min():g} and sums up to {astray:g} away from one: pass logits through softmax first"
        )
    truth = checks.vector("labels", labels, length=table.shape[0])
    if (truth != np.round(truth)).any() or truth.min() < 0 or truth.max() >= table.shape[1]:
        raise ValueError(
            f"labels must be integers from 0 to {table.shape[1] - 1}; found from {truth.min():g} to {truth.max():g}"
        )
    confidence = np.minimum(table.max(axis=1), 1.0)
    right = table.argmax(axis=1) == truth
    places = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    counts = np.bincount(places, minlength=bins)
    filled = np.where(counts > 0, counts, np.nan)
    means = np.bincount(places, confidence, bins) / filled
    accuracy = np.bincount(places, right.astype(np.float64), bins) / filled
    error = float(np.nansum(np.abs(accuracy - means) * counts) / counts.sum())
    return ReliabilityBins(np.linspace(0.0, 1.0, bins + 1), counts, means, accuracy, error)


def reliability(probabilities: ArrayLike, labels: ArrayLike, *, bins: int = 10, axes: Any = None) -> Any:
    """Axes with the accuracy of predictions by their confidence, beside the diagonal of perfect calibration.

    Parameters
    ----------
    probabilities, labels, bins
        As for `reliability_bins`.
    axes : matplotlib Axes, optional
        Where to draw; new ones by default.

    Returns
    -------
    Axes
        Bars of accuracy, a mark at each bin's mean confidence, and the calibration error in the title.

    Raises
    ------
    TypeError, ValueError
        As for `reliability_bins`.
    ImportError
        If matplotlib is missing.

    Examples
    --------
    >>> from vispa import plots
    >>> plots.reliability([[0.8, 0.2], [0.8, 0.2], [0.3, 0.7]], [0, 1, 1]).get_title()
    'calibration error 0.300'
    """
    found = reliability_bins(probabilities, labels, bins=bins)
    axes = axes_for(axes, "plots.reliability", size=(5.6, 4.2))
    shown = found.counts > 0
    lefts, widths = found.edges[:-1][shown], np.diff(found.edges)[shown]
    heights = found.accuracy[shown]
    axes.bar(lefts, heights, widths, align="edge", color=AFTER, edgecolor="white", label="accuracy")
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1.2, linestyle="--", label="perfect calibration")
    axes.plot(found.confidence[shown], heights, "o", color=INK, markersize=4, label="mean confidence")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("confidence")
    axes.set_ylabel("accuracy")
    axes.set_title(f"calibration error {found.error:.3f}")
    legend_beside(axes)
    return axes
