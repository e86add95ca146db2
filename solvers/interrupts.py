"""Ctrl-C while there is no result to return yet: held back for a moment, and heard as soon as there is one."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType

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
        self._holds = False

    def __enter__(self) -> HeldInterrupts:
        in_main = threading.current_thread() is threading.main_thread()
        self._holds = in_main and signal.getsignal(signal.SIGINT) is HANDLER
        self._install()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._holds:
            signal.signal(signal.SIGINT, HANDLER)
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
        if self.asked:
            raise KeyboardInterrupt
        try:
            if self._holds:
                signal.signal(signal.SIGINT, HANDLER)
            yield
        finally:
            self._install()

    def _install(self) -> None:
        if self._holds:
            signal.signal(signal.SIGINT, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            HANDLER(number, frame)
        self.asked = True
