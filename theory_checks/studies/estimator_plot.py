"""The figure of the estimator study."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from theory_checks.studies.estimator_cases import CORRELATIONS, CURVATURES, LOSSES

INK, MUTED = "#22262e", "#7a808c"
COLOURS = {
    "deterministic": "#7a808c",
    "straight-through": "#d1693a",
    "through hard-tanh": "#d9b26f",
    "through EDE, t = 10": "#8f5c2b",
    "at mean": "#8a6fb0",
    "gaussian": "#7fb7c2",
    "rao-blackwell": "#0f6e84",
    "score": "#b04a5a",
    "local": "#3a8f5c",
    "conditional": "#22262e",
}
MAPPED = ("deterministic", "straight-through", "through EDE, t = 10", "conditional")
PLAIN = "quadratic, A_ii = 0"


def save_plot(path: Path, study: dict[str, Any]) -> None:
    """Write a PNG: wrong signs by correlation and curvature, by correlation, by loss, and the price of signal."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style: Any = {
        "font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 10,
        "axes.titlelocation": "left", "axes.titleweight": "bold", "text.color": INK, "axes.edgecolor": MUTED,
    }  # fmt: skip
    cells = {(c["loss"], c["correlation"], c["estimator"]): c for c in study["cells"]}
    with mpl.rc_context(style):
        figure = Figure(figsize=(13, 8.2), layout="constrained")
        FigureCanvasAgg(figure)
        panels: Any = figure.subfigures(2, 1, height_ratios=(1, 1.15))
        top, bottom = panels
        _curvature_maps(top, cells)
        left, middle, right = bottom.subplots(1, 3, width_ratios=(1, 1.25, 1))
        _by_correlation(left, cells)
        _by_loss(middle, cells)
        _prices(right, cells)
        figure.savefig(path, dpi=120)


def _curvature_maps(figure: Any, cells: dict[Any, Any]) -> None:
    axes = figure.subplots(1, len(MAPPED), sharey=True)
    for axis, name in zip(axes, MAPPED, strict=True):
        shares = np.array(
            [[_wrong(cells, f"quadratic, A_ii = {c:g}", r, name) for r in CORRELATIONS] for c in CURVATURES]
        )
        image = _heat(axis, shares)
        axis.set_xticks(range(len(CORRELATIONS)), [f"{r:g}" for r in CORRELATIONS])
        axis.set(xlabel="correlation of the weights", title=name)
    axes[0].set_yticks(range(len(CURVATURES)), [f"{c:g}" for c in CURVATURES])
    axes[0].set_ylabel("A_ii over the norm of its row")
    figure.suptitle("wrong signs of the mean, %, quadratics", x=0.02, ha="left", fontsize=11)
    figure.colorbar(image, ax=axes, shrink=0.8)


def _wrong(cells: dict[Any, Any], loss: str, correlation: float, name: str) -> float:
    """Percentage of wrong signs; NaN where the study was interrupted before it."""
    cell = cells.get((loss, correlation, name))
    return math.nan if cell is None else 100.0 * float(cell["wrong_signs"])


def _heat(axis: Any, shares: Any) -> Any:
    image = axis.imshow(shares, cmap="YlOrRd", vmin=0, vmax=50, aspect="auto", origin="lower")
    axis.spines[:].set_visible(False)
    for (i, j), share in np.ndenumerate(shares):
        if np.isfinite(share):
            colour = "white" if share > 30 else INK
            axis.text(j, i, f"{share:.0f}", ha="center", va="center", fontsize=8, color=colour)
    return image


def _by_correlation(axis: Any, cells: dict[Any, Any]) -> None:
    for name, colour in COLOURS.items():
        found = [cells.get((PLAIN, r, name)) for r in CORRELATIONS]
        points = [(r, c["cosine"]) for r, c in zip(CORRELATIONS, found, strict=True) if c is not None]
        axis.plot(
            *zip(*points, strict=True), marker="o", markersize=3.5, color=colour, label=name, linewidth=1.6
        )
    axis.set(xlabel="correlation of the weights", ylabel="cosine with the truth", ylim=(None, 1.02))
    axis.set_title("no diagonal: direction of the mean")
    axis.legend(frameon=False, fontsize=8, loc="lower left")


def _by_loss(axis: Any, cells: dict[Any, Any]) -> None:
    names = (
        "deterministic",
        "straight-through",
        "marginal",
        "at mean",
        "rao-blackwell",
        "local",
        "conditional",
    )
    losses = [loss for loss in LOSSES if not loss.startswith("quadratic")]
    shares = np.array([[_wrong(cells, loss, 0.5, name) for name in names] for loss in losses])
    _heat(axis, shares)
    axis.set_xticks(range(len(names)), names, rotation=35, ha="right")
    axis.set_yticks(range(len(losses)), losses)
    axis.set_title("beyond quadratics, correlation 0.5: wrong signs, %")


def _prices(axis: Any, cells: dict[Any, Any]) -> None:
    found = {name: cells[PLAIN, 0.75, name] for name in COLOURS if (PLAIN, 0.75, name) in cells}
    names = [name for name, cell in found.items() if cell["noise"] > 0]
    price = [found[name]["noise"] ** 2 * found[name]["evaluations"] for name in names]
    axis.barh(names, price, color=[COLOURS[name] for name in names])
    axis.set(xlabel="evaluations until signal = noise")
    axis.invert_yaxis()
    axis.set_title("price of signal, correlation 0.75")
