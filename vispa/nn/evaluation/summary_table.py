"""The rows of a summary, and the table, the dictionary and the Markdown that they become."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["LayerSummary", "Summary"]


@dataclass(frozen=True)
class LayerSummary:
    """One weight, or the parameters of one module that holds no weight of a known kind.

    Attributes
    ----------
    name : str
        Of the module in the model, with the attribute where it is not ``weight``.
    kind : str
        The module's class.
    shape : tuple of int
        Of the weight; empty for other parameters.
    binary : bool
        Whether it is trained as signs, or is of one absolute value a channel, as `vispa.harden` leaves it.
    why_not : str
        Why it is real; empty where it is binary.
    rank : int or None
        K of a binary weight that is trained with a factor.
    parameters : int
        Of the network that is left after training: the weight and the bias; a weight met before counts nothing.
    bits : int
        One a binary weight, and as many a real one as its dtype has.
    macs : int or None
        Products in one call on the example; None without one, and for matrices in modules of no known kind.
    bytes_before, bytes_after : int
        Memory of the weight and the bias, real and binary (a bit a weight, and a scale a channel).
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    binary: bool
    why_not: str
    rank: int | None
    parameters: int
    bits: int
    macs: int | None
    bytes_before: int
    bytes_after: int


@dataclass(frozen=True)
class Summary:
    """All layers of a model; ``print`` shows a table."""

    layers: tuple[LayerSummary, ...]

    @property
    def totals(self) -> dict[str, int | None]:
        """Sums over the layers: parameters, bits, MACs in binary and in real layers, memory before and after."""
        counted = all(layer.macs is not None for layer in self.layers)
        products = {
            which: sum(layer.macs or 0 for layer in self.layers if layer.binary is which)
            for which in (True, False)
        }
        return {
            "parameters": sum(layer.parameters for layer in self.layers),
            "bits": sum(layer.bits for layer in self.layers),
            "macs_binary": products[True] if counted else None,
            "macs_float": products[False] if counted else None,
            "bytes_before": sum(layer.bytes_before for layer in self.layers),
            "bytes_after": sum(layer.bytes_after for layer in self.layers),
        }

    def to_dict(self) -> dict[str, Any]:
        """Layers and totals, ready for JSON."""
        layers = [{**asdict(layer), "shape": list(layer.shape)} for layer in self.layers]
        return {"layers": layers, "totals": self.totals}

    def to_markdown(self) -> str:
        """The table in Markdown."""
        head, *rows = self._rows()
        return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])

    def __str__(self) -> str:
        rows = self._rows()
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        )

    def _rows(self) -> list[list[str]]:
        head = [
            "layer",
            "kind",
            "shape",
            "weights",
            "rank",
            "parameters",
            "bits",
            "MACs",
            "bytes before",
            "after",
        ]
        body = [
            [
                layer.name or "(model)",
                layer.kind,
                "x".join(map(str, layer.shape)) or "-",
                "binary" if layer.binary else f"real: {layer.why_not}",
                "-" if layer.rank is None else str(layer.rank),
                f"{layer.parameters:,}",
                f"{layer.bits:,}",
                "-" if layer.macs is None else f"{layer.macs:,}",
                f"{layer.bytes_before:,}",
                f"{layer.bytes_after:,}",
            ]
            for layer in self.layers
        ]
        sums = self.totals
        macs = "-" if sums["macs_binary"] is None else f"{sums['macs_binary']:,} + {sums['macs_float']:,}"
        last = ["total", "", "", "binary + real", ""]
        last += [f"{sums['parameters']:,}", f"{sums['bits']:,}", macs]
        return [head, *body, [*last, f"{sums['bytes_before']:,}", f"{sums['bytes_after']:,}"]]
