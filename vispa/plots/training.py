"""Learning curves, over the seeds of each method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from solvers import checks
from vispa.plots.canvas import axes_for, colour, legend_beside

if TYPE_CHECKING:
    from vispa.training.run import Result

__all__ = ["learning_curves"]


def learning_curves(curves: Mapping[str, ArrayLike] | Sequence[Result], axes: Any = None) -> Any:
    """Axes with the mean accuracy over epochs of each method, and a band from its worst seed to its best.

    Parameters
    ----------
    curves : mapping of str to (runs, epochs) array_like, or sequence of Result
        Accuracies between 0 and 1; a single run may be one list. Of results of `vispa.training.compare.compare`
        the accuracies on validation, by method; its runs must have the same number of epochs.
    axes : matplotlib Axes, optional
        Where to draw; new ones by default.

    Returns
    -------
    Axes
        A curve a method in per cent, whose label ends with the mean at the last epoch.

    Raises
    ------
    TypeError, ValueError
        If there is nothing to draw, an entry is no matrix of finite numbers, or lies outside [0, 1].
    ImportError
        If matplotlib is missing.

    Examples
    --------
    >>> from vispa import plots
    >>> axes = plots.learning_curves({"vispa": [[0.5, 0.9], [0.7, 1.0]], "ste": [0.4, 0.8]})
    >>> [line.get_label() for line in axes.get_lines()]
    ['vispa  95.0 %', 'ste  80.0 %']
    """
    found = {name: _runs(name, values) for name, values in _by_method(curves).items()}
    if not found:
        raise ValueError("curves must not be empty")
    axes = axes_for(axes, "plots.learning_curves")
    for index, (name, runs) in enumerate(found.items()):
        epochs, mean = np.arange(1, runs.shape[1] + 1), runs.mean(axis=0)
        if runs.shape[0] > 1:
            band = runs.min(axis=0), runs.max(axis=0)
            axes.fill_between(epochs, *band, color=colour(index), alpha=0.13, linewidth=0)
        axes.plot(epochs, mean, color=colour(index), linewidth=2, label=f"{name}  {mean[-1]:.1f} %")
    axes.set_xlabel("epoch")
    axes.set_ylabel("validation accuracy (%)")
    legend_beside(axes, title="at the last epoch", alignment="left")
    return axes


def _by_method(curves: Any) -> Mapping[str, Any]:
    if isinstance(curves, Mapping):
        return curves
    if not isinstance(curves, Sequence) or not all(hasattr(each, "history") for each in curves):
        raise TypeError(
            "curves must be a mapping of names to accuracies or a sequence of training results; "
            f"found {type(curves).__name__}"
        )
    groups: dict[str, list[list[float]]] = {}
    for result in curves:
        accuracies = [epoch.validation_accuracy for epoch in result.history]
        groups.setdefault(result.recipe.method, []).append(accuracies)
    return groups


def _runs(name: str, values: Any) -> NDArray[np.float64]:
    array = checks.unmasked(f"curves[{name!r}]", values)
    runs = 100 * checks.real_array(f"curves[{name!r}]", np.atleast_2d(array), dimensions=2)
    if runs.size == 0 or runs.min() < 0 or runs.max() > 100:
        raise ValueError(
            f"curves[{name!r}] must hold accuracies between 0 and 1; found shape {array.shape}"
            + (f", from {runs.min() / 100:g} to {runs.max() / 100:g}" if runs.size else "")
        )
    return runs
