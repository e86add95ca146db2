"""What every thread has for itself: memory that a call writes into."""

from __future__ import annotations

import threading
from typing import Any, Self

__all__ = ["PerThread"]


class PerThread(threading.local):
    """State that every thread begins for itself by ``__init__`` without arguments; copies begin anew as well."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return type(self)()

    def __reduce__(self) -> Any:
        return type(self), ()
