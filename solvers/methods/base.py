"""What the solve loop asks of a method, so that a new one is a file of its own."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from solvers.linalg.sphere import Factor


class Advance(NamedTuple):
    """A factor, how much the last iteration lowered the objective, and how much all of them did."""

    factor: Factor
    last_decrease: float
    decrease: float


class Method(Protocol):
    """A way to lower the objective over unit rows.

    Attributes
    ----------
    iterations : int
        Products with the cost since the last restart, or their equivalent.
    """

    iterations: int

    def restart(self) -> None:
        """Forget the past, as after an escape."""

    def advance(self, factor: Factor, count: int) -> Advance:
        """Run about ``count`` iterations; the factor may be changed in place."""
