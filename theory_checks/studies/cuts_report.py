"""The study of cuts as Markdown and as a figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from theory_checks.studies.record import footer, table

COMMAND = "python -m theory_checks.studies.cuts --output DIR"
KINDS = ("triangles", "and pentagons", "and heptagons")
INK = "#22262e"
COLOURS = ("#d9b26f", "#d1693a", "#0f6e84")


def report(study: dict[str, Any]) -> list[str]:
    """Markdown of a study."""
    layer = "" if study["layer"] is None else f" --layer {study['layer']}"
    rows = []
    for name, found in study["families"].items():
        closed = np.array([each["closed"] for each in found])
        proved = sum(each["proved"] for each in found)
        rows.append(
            [
                name,
                f"{100 * np.mean([each['gap'] for each in found]):.2f}",
                *(
                    f"{100 * mean:.1f} ({100 * least:.1f})"
                    for mean, least in zip(closed.mean(0), closed.min(0), strict=True)
                ),
                f"{np.mean([each['seconds'][-1] for each in found]):.2f}",
                f"{proved} of {len(found)}",
                f"{np.median([each['nodes'] for each in found]):g}",
            ]
        )
    header = ["", "gap, %", *(f"{kind}, %" for kind in KINDS), "s", "proved", "nodes"]
    return [
        "# What cuts close",
        "",
        footer(study, f"{COMMAND} --repeats {study['repeats']}{layer}"),
        "",
        _setting(study),
        "",
        *table(header, rows),
    ]


def _setting(study: dict[str, Any]) -> str:
    return (
        f"{study['repeats']} problems a family, of 50 signs (49 on the torus). The gap is that between the "
        "optimum and the Shor bound, relative to the optimum; then the share of it that `strengthen` closes "
        "with cliques of three, of three and five, and of three, five and seven, as proved bounds: the mean, "
        "and the least in brackets. The optima are those of `branch_and_bound`; where one is not proved after "
        "half a minute, the best value found stands for it, and the share is a lower bound of the true one. "
        "Seconds are of the processor, for all three kinds of cuts; nodes are the median. More cuts allow no "
        "lower bound: where a larger class ends lower, as on badly conditioned layers, the rounds of "
        "multipliers have not come to their end."
    )


def save_plot(path: Path, study: dict[str, Any]) -> None:
    """Write a PNG: the share of the gap that each kind of cuts closes, by family, a point for each problem."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    style: Any = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    names = list(study["families"])
    with mpl.rc_context(style):
        figure = Figure(figsize=(10, 4.2), layout="constrained")
        FigureCanvasAgg(figure)
        axis = figure.subplots()
        places = np.arange(len(names))
        for k, (kind, colour) in enumerate(zip(KINDS, COLOURS, strict=True)):
            shares = [[100 * each["closed"][k] for each in study["families"][name]] for name in names]
            axis.bar(places + 0.26 * (k - 1), [np.mean(s) for s in shares], 0.24, color=colour, label=kind)
            for place, share in zip(places, shares, strict=True):
                axis.plot(np.full(len(share), place + 0.26 * (k - 1)), share, ".", color=INK, markersize=3)
        axis.set_xticks(places, [name.replace(", ", ",\n") for name in names])
        axis.set(ylabel="share of the gap closed, %", ylim=(0, 102))
        axis.legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
        figure.savefig(path, dpi=120)
