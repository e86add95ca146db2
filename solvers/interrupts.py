"""Ctrl-C while there is no result to return yet: held back for a moment, and heard as soon as there is one."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any

HANDLER = signal.default_int_handler


class HeldInterrupts:
    """Within it one interrupt is noted and not raised, a second one is; where `released`, they are raised at once.

    Only Python's own handler is replaced, and only in the main thread, where it would be called: elsewhere, and
    under a handler of the caller's, nothing is held.

    Attributes
    ----------
    asked : bool
        Whether an interrupt was noted.

    Examples
    --------
    >>> with HeldInterrupts() as interrupts:
    ...     signal.raise_signal(signal.SIGINT)
    ...     interrupts.asked
    True
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None
        self._released = False

    def __enter__(self) -> HeldInterrupts:
        if threading.current_thread() is threading.main_thread():
            before = signal.getsignal(signal.SIGINT)
            if before is HANDLER or _is_released(before):
                self._before = before
                signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
        if self.asked and isinstance(error, Exception):
            # nothing is returned, so the interrupt has not been heard
            raise KeyboardInterrupt from error

    @contextlib.contextmanager
    def released(self) -> Iterator[None]:
        """Where interrupts are raised at once, and one that was noted before.

        Raises
        ------
        KeyboardInterrupt
        """
        # the handler stays: to replace one takes as long as many a small solve's iterations
        self._released = True
        try:
            if self.asked:
                raise KeyboardInterrupt
            yield
        finally:
            self._released = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._released or self.asked:
            HANDLER(number, frame)
        self.asked = True


def _is_released(handler: Any) -> bool:
    """Whether it is that of a solve that raises interrupts at once, within which another begins."""
    owner = getattr(handler, "__self__", None)
    return isinstance(owner, HeldInterrupts) and owner._released
