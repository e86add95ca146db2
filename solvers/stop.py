"""How long work is asked to end early, keeping the best result so far."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Moment = TypeVar("Moment")


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


def tell(callback: Callable[[Moment], None] | None, moment: Moment, interrupted: Any) -> None:
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
