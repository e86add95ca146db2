"""What all plots share: axes to draw into, colours, and a legend that stands beside what is drawn."""

from __future__ import annotations

from typing import Any

from solvers.optional import require

INK, MUTED, GRID = "#22262e", "#7a808c", "#e6e8ec"
BEFORE, AFTER = "#c3c8d1", "#0f6e84"
# Told apart in grey and by the colour-blind too, dark first.
PALETTE = ("#0f6e84", "#d1693a", "#8a6fb0", "#5a9367", "#b8963e", "#c3c8d1", "#7a808c")
STYLE: Any = {
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid.axis": "y",
    "axes.grid": True,
    "grid.color": GRID,
    "axes.axisbelow": True,
    "axes.titlelocation": "left",
    "legend.frameon": False,
}


def axes_for(axes: Any, what: str, *, size: tuple[float, float] = (6.0, 4.0)) -> Any:
    """The axes given, or new ones in a figure that pyplot knows, so that notebooks show it.

    Raises
    ------
    ImportError
        If matplotlib is missing, naming the extra that brings it.
    TypeError
        If ``axes`` are not matplotlib's.
    """
    require("matplotlib", "plots", what)
    from matplotlib.axes import Axes

    if axes is None:
        import matplotlib.pyplot as plt

        with plt.rc_context(STYLE):
            return plt.figure(figsize=size, layout="constrained").add_subplot()
    if not isinstance(axes, Axes):
        raise TypeError(
            f"axes must be one matplotlib Axes, or None for a new figure; found {type(axes).__name__}"
        )
    return axes


def legend_beside(axes: Any, **options: Any) -> None:
    """Put the legend to the right of the axes, where it covers nothing."""
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), **options)


def colour(index: int) -> str:
    """The colour of the curve of this number; they repeat after seven."""
    return PALETTE[index % len(PALETTE)]
