"""One solver's result on one instance, as the report and the JSON hold it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """Seconds are None where the wanted accuracy was not reached; `note` then says why.

    Attributes
    ----------
    solver : str
    seconds, wall : float or None
        Processor time and wall-clock time, medians over the repeats.
    value, gap, dense_gap : float or None
        Of the point the solver returned, recomputed: minimised value, relative gap by our certificate, and by
        dense eigenvalues.
    repeats : int
    note : str
        Setting used, or why there is no time.
    """

    solver: str
    seconds: float | None
    wall: float | None = None
    value: float | None = None
    gap: float | None = None
    dense_gap: float | None = None
    repeats: int = 1
    note: str = ""
