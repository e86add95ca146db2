"""What a layer made binary after training has become, and how good that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vispa.quantization.layer_problem import Matrix
from vispa.quantization.scales import group_borders, spread
from vispa.quantization.search import STARTS

SCALE_BITS = 32


@dataclass(frozen=True, eq=False)
class BinaryLayer:
    r"""Signs and scales of J rows, and what they leave of the outputs.

    Attributes
    ----------
    signs : (J, n) int8 ndarray
        +1 and -1.
    scales : (J, g) ndarray
        At least 0: one a row, or one for every group of columns.
    error, energy : (J,) ndarray
        |X v_j - t_j|^2 of v_j = scales times signs, and |t_j|^2, t_j being the row's outputs before.
    start : tuple of str
        Where each row's signs come from: "weights" as they are, or what a descent made of "sgn", "gptq", "beam",
        "relaxation" or "given".
    scale_bound : (J,) ndarray or None
        No signs have a smaller error at these scales; where bounds were asked for.
    joint_bound : (J,) ndarray or None
        No signs and no scale have a smaller error; where bounds were asked for and a row has one scale.
    group : int or None
        Columns that share a scale; None for all of a row.
    seconds : float
    finished : bool
        Whether every row was searched to its end, and not cut short by a limit or an interrupt.
    """

    signs: NDArray[np.int8]
    scales: Matrix
    error: NDArray[np.float64]
    energy: NDArray[np.float64]
    start: tuple[str, ...]
    scale_bound: NDArray[np.float64] | None
    joint_bound: NDArray[np.float64] | None
    group: int | None
    seconds: float
    finished: bool

    def __repr__(self) -> str:
        rows, columns = self.signs.shape
        return f"<BinaryLayer of {rows} rows of {columns}, relative error {self.relative_error:.4g}>"

    @property
    def weight(self) -> Matrix:
        """(J, n), scales times signs."""
        return spread(self.scales, group_borders(self.signs.shape[1], self.group)) * self.signs

    @property
    def relative_error(self) -> float:
        """The rows' errors by their energies, both summed; 0 for a layer without outputs."""
        total = float(self.energy.sum())
        return float(self.error.sum()) / total if total > 0.0 else 0.0

    @property
    def bits(self) -> int:
        """The bits of everything kept: a bit a sign and 32 a scale."""
        return self.signs.size + SCALE_BITS * self.scales.size

    def report(self) -> dict[str, Any]:
        """Relative error and bounds, bits a weight, starts that won, and seconds, ready for JSON."""
        total = float(self.energy.sum()) or 1.0
        return {
            "rows": self.signs.shape[0],
            "columns": self.signs.shape[1],
            "relative_error": self.relative_error,
            "scale_bound": None if self.scale_bound is None else float(self.scale_bound.sum()) / total,
            "joint_bound": None if self.joint_bound is None else float(self.joint_bound.sum()) / total,
            "bits_a_weight": self.bits / self.signs.size,
            "starts": {name: self.start.count(name) for name in STARTS if name in self.start},
            "seconds": self.seconds,
            "finished": self.finished,
        }
