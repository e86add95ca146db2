"""When long work ends, and how it is asked to end early, keeping the best result so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from solvers import checks

Moment = TypeVar("Moment")


@dataclass(frozen=True)
class Limits(Generic[Moment]):
    """When a solve ends, and who hears of it on the way.

    Attributes
    ----------
    tol : float
        The relative gap at which it is done.
    max_iterations : int
    max_seconds : float or None
    callback : callable or None
        Called with every recorded moment; StopIteration from it ends the solve.
    """

    tol: float
    max_iterations: int
    max_seconds: float | None
    callback: Callable[[Moment], None] | None

    @classmethod
    def checked(
        cls,
        tol: Any,
        max_iterations: Any,
        max_seconds: Any,
        callback: Callable[[Moment], None] | None,
        *,
        finest: float | None = None,
    ) -> Limits[Moment]:
        """What a user asked for; ``tol`` is above zero, or at least ``finest``.

        Raises
        ------
        TypeError, ValueError
            By the name of the argument.
        """
        if finest is None:
            tol = checks.scalar("tol", tol, positive=True)
        else:
            tol = checks.scalar("tol", tol, minimum=finest)
        max_iterations = checks.integer("max_iterations", max_iterations, minimum=1)
        if max_seconds is not None:
            max_seconds = checks.scalar("max_seconds", max_seconds, positive=True)
        return cls(tol, max_iterations, max_seconds, checks.function("callback", callback))


class Stop(Exception):  # a request, as StopIteration is, not an error
    """Raised inside long work to end it with the best result so far.

    Attributes
    ----------
    status : Status or SearchEnd
        Why, in the terms of the work.
    """

    def __init__(self, status: Any) -> None:
        super().__init__(status.name)
        self.status = status


def tell(callback: Callable[[Moment], object] | None, moment: Moment, interrupted: Any) -> None:
    """Show the moment to the callback, where there is one.

    Raises
    ------
    Stop
        With the status ``interrupted``, where the callback raises StopIteration.
    """
    if callback is None:
        return
    try:
        callback(moment)
    except StopIteration:
        raise Stop(interrupted) from None
