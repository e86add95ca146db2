"""The figure of the relaxation study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from theory_checks.studies.relaxation_measure import MIXTURES, RANKS, WIDTHS

INK, MUTED = "#22262e", "#7a808c"
FAMILY_COLOURS = ("#0f6e84", "#d1693a", "#8a6fb0")
RANK_COLOURS = ("#7a808c", "#d1693a", "#0f6e84", "#3a8f5c")


def save_plot(path: Path, study: dict[str, Any]) -> None:
    """Write a PNG: value, bound and rounding by width; the network by rank; the bounds by K and M."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style: Any = {
        "font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 10,
        "axes.titlelocation": "left", "axes.titleweight": "bold", "text.color": INK, "axes.edgecolor": MUTED,
    }  # fmt: skip
    with mpl.rc_context(style):
        figure = Figure(figsize=(12, 7.4), layout="constrained")
        FigureCanvasAgg(figure)
        top, bottom = figure.subplots(2, 3)
        for axis, (name, found), colour in zip(top, study["quadratics"].items(), FAMILY_COLOURS, strict=True):
            _widths(axis, name, found, colour)
        _network(bottom[0], study["networks"])
        for axis, (name, at) in zip(bottom[1:], study["entropies"].items(), strict=True):
            _bounds(axis, name, at)
        figure.savefig(path, dpi=120)


def _widths(axis: Any, name: str, found: list[dict[str, Any]], colour: str) -> None:
    at = {width: [i["widths"][str(width)] for i in found] for width in WIDTHS}
    for quantity, style in (("value", "-"), ("bound", "--")):
        axis.plot(WIDTHS, [np.mean([a[quantity] for a in at[w]]) for w in WIDTHS], style, color=colour, marker="o",
                  markersize=3.5, label=f"{quantity} of the relaxation")  # fmt: skip
    for quantity, shade in (("expected", "#d9b26f"), ("best", INK)):
        heights = [np.mean([a["rounded"][quantity] for a in at[w]]) for w in WIDTHS]
        axis.plot(WIDTHS, heights, color=shade, marker="o", markersize=3.5, label=f"{quantity} rounding")
    axis.axhline(np.mean([i["sdp"] for i in found]), color=MUTED, linewidth=0.8, label="SDP")
    axis.axhline(0.0, color=MUTED, linewidth=0.8, linestyle=":")
    axis.set(xlabel="columns k of the factor", ylabel="height: 0 optimum, 1 mean", title=f"{name}")
    axis.legend(frameon=False, fontsize=7.5)


def _network(axis: Any, found: list[dict[str, Any]]) -> None:
    places = np.arange(len(RANKS))
    for estimator, colour in (("straight-through", "#d1693a"), ("conditional", "#22262e")):
        for quantity, style in (("best", "-"), ("centre", ":")):
            heights = [np.mean([i["ranks"][str(r)][estimator][quantity] for i in found]) for r in RANKS]
            label = f"{estimator}, {'best point' if quantity == 'best' else 'sgn(mean)'}"
            axis.plot(places, heights, style, color=colour, marker="o", markersize=3.5, label=label)
    axis.axhline(
        np.mean([i["quadratic"] for i in found]),
        color=MUTED,
        linewidth=0.8,
        label="SDP of the quadratic part",
    )
    axis.set_xticks(places, [str(r) for r in RANKS])
    axis.set(xlabel="rank K", ylabel="height", title="one-hidden-layer binary network, T = 0")
    axis.legend(frameon=False, fontsize=7.5)


def _bounds(axis: Any, name: str, at: dict[str, Any]) -> None:
    places = np.arange(len(MIXTURES))
    for (rank, entry), colour in zip(at["ranks"].items(), RANK_COLOURS, strict=True):
        gaps = [max(entry["bounds"][str(m)]["gap"], 1e-4) for m in MIXTURES]
        errors = [entry["bounds"][str(m)]["standard_error"] for m in MIXTURES]
        axis.errorbar(places, gaps, errors, color=colour, marker="o", markersize=3.5, label=f"K = {rank}")
        if entry["true"] is not None:
            axis.axhline(entry["true"], color=colour, linewidth=0.8, linestyle=":")
    axis.set_xticks(places, [str(m) for m in MIXTURES])
    axis.set(
        yscale="log",
        xlabel="M of the semi-implicit bound",
        ylabel="nats above -log Z",
        title=f"{name}, T = 1",
    )
    axis.legend(frameon=False, fontsize=7.5)
