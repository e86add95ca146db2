"""Problems whose parts are set once."""

from __future__ import annotations

from typing import Any, ClassVar


class Fixed:
    """An object whose attributes named in ``FIXED`` cannot be replaced: what is derived from them is built once.

    Attributes
    ----------
    FIXED : frozenset of str
        A subclass sets it.
    """

    FIXED: ClassVar[frozenset[str]]

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.FIXED and name in self.__dict__:
            raise AttributeError(
                f"{name} of a {type(self).__name__} is fixed, because its relaxation is built once; "
                "make another problem"
            )
        super().__setattr__(name, value)
