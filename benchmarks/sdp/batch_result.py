"""What the batch benchmark measures of one batch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Measured:
    """One batch by one implementation; seconds are None where not every problem was certified."""

    order: int
    problems: int
    dtype: str
    tol: float
    solver: str
    certified: int
    seconds: float | None
    wall: float
    mean_sweeps: float
    most_sweeps: int
    worst_gap: float
    flops: float
    bytes_read: float
    peak_gibibytes: float | None
