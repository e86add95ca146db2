"""What a network made binary after training has lost, layer by layer."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

HEADINGS = (
    "layer",
    "rows",
    "columns",
    "relative error",
    "fitted error",
    "its bound",
    "bits a weight",
    "seconds",
)


@dataclass(frozen=True)
class LayerLoss:
    """One layer: its size, what is lost of its outputs' variation, what at least must be, and what it takes.

    Attributes
    ----------
    name : str
    rows, columns : int
        Of its weight; columns in one group.
    relative_error : float
        |binary outputs - float outputs|^2 by |float outputs|^2 over the calibration data, both networks feeding the
        layer what they do, about the means where a bias makes up for those.
    fitted_error : float
        The same with the damping that the fit adds: what is minimised.
    scale_bound, joint_bound : float or None
        Lower bounds of the fitted error at these scales and, with one scale a row, at any; where asked for.
    bits : int
        Of its signs and scales.
    starts : dict
        Rows whose signs come from each start; empty for the methods that have one.
    seconds : float
    """

    name: str
    rows: int
    columns: int
    relative_error: float
    fitted_error: float
    scale_bound: float | None
    joint_bound: float | None
    bits: int
    starts: dict[str, int]
    seconds: float


@dataclass(frozen=True)
class NetworkReport:
    """All layers that became binary, and the network around them.

    Attributes
    ----------
    method : str
    layers : tuple of LayerLoss
    kept : tuple of str
        Layers that could be binary and are not: kept, never called, of another kind, or not reached.
    bits : int
        Of all parameters: those of binary layers as counted there, every other number at its own width.
    float_bits : int
        Of the parameters before.
    loss_before, loss_after : float or None
        Over the calibration data, where a loss was given.
    seconds : float
    finished : bool
        Whether nothing is left for another call: no layer, and no statistics to be averaged.
    """

    method: str
    layers: tuple[LayerLoss, ...]
    kept: tuple[str, ...]
    bits: int
    float_bits: int
    loss_before: float | None
    loss_after: float | None
    seconds: float
    finished: bool

    def table(self) -> str:
        """A Markdown table of the layers, and a line about the network."""
        lines = [_line(HEADINGS), _line(["---"] * len(HEADINGS))]
        for layer in self.layers:
            bound = layer.joint_bound if layer.joint_bound is not None else layer.scale_bound
            lines.append(
                _line(
                    (
                        layer.name,
                        layer.rows,
                        layer.columns,
                        f"{layer.relative_error:.3g}",
                        f"{layer.fitted_error:.3g}",
                        "" if bound is None else f"{bound:.3g}",
                        f"{layer.bits / (layer.rows * layer.columns):.3g}",
                        f"{layer.seconds:.2f}",
                    )
                )
            )
        end = f"{self.float_bits / self.bits:.3g} times fewer bits"
        if self.loss_before is not None and self.loss_after is not None:
            end += f"; loss {self.loss_before:.4g} before, {self.loss_after:.4g} after"
        return "\n".join([*lines, "", end])

    def to_json(self, path: str | Path | None = None) -> str:
        """The whole report as JSON, with null for what is not finite, written to a file too where one is named."""
        text = json.dumps(_plain(asdict(self)), indent=2, allow_nan=False)
        if path is not None:
            Path(path).write_text(text + "\n", encoding="utf-8")
        return text

    def plot(self, axes: Any = None) -> Any:
        """Matplotlib axes with each layer's relative error and, where known, the bounds below it."""
        from vispa.plots.canvas import axes_for, legend_beside

        axes = axes_for(axes, "NetworkReport.plot", size=(3.5 + 0.5 * len(self.layers), 3.5))
        places = range(len(self.layers))
        axes.plot(places, [layer.fitted_error for layer in self.layers], "o-", label=self.method)
        for label, bounds in (
            ("bound at the scales", [layer.scale_bound for layer in self.layers]),
            ("bound at any scale", [layer.joint_bound for layer in self.layers]),
        ):
            known = [(place, bound) for place, bound in enumerate(bounds) if bound]
            if known:
                axes.plot(*zip(*known, strict=True), "v", label=label)
        axes.set_yscale("log")
        axes.set_xticks(list(places), [layer.name for layer in self.layers], rotation=60, ha="right")
        axes.set_ylabel("relative error of the outputs")
        legend_beside(axes)
        return axes


def _plain(values: Any) -> Any:
    """Values that JSON has."""
    if isinstance(values, dict):
        return {name: _plain(each) for name, each in values.items()}
    if isinstance(values, (list, tuple)):
        return [_plain(each) for each in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


def _line(cells: Any) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"
