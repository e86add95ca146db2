"""The names that SciPy's users know, over those of our results."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

from numpy.typing import NDArray


class Worded(Protocol):
    """A status that says in words why a solver stopped."""

    @property
    def message(self) -> str:
        """The reason and its remedy."""
        ...


class SciPyNames:
    """The names of SciPy's ``OptimizeResult`` for our results: ``x``, ``fun``, ``nit`` and ``message``.

    Attributes
    ----------
    POINT, COUNT : str
        Names of the fields behind ``x`` and ``nit``; a subclass sets them.
    """

    POINT: ClassVar[str]
    COUNT: ClassVar[str]

    value: float
    status: Any

    @property
    def x(self) -> NDArray[Any]:
        """The minimiser under SciPy's name: a Solution's factor, the signs of other results."""
        point: NDArray[Any] = getattr(self, self.POINT)
        return point

    @property
    def fun(self) -> float:
        """The value, under SciPy's name for a minimum."""
        return self.value

    @property
    def nit(self) -> int:
        """The number of iterations under SciPy's name; of a tree, that of its nodes."""
        return int(getattr(self, self.COUNT))

    @property
    def message(self) -> str:
        """Why the solver stopped and what to do about it."""
        status: Worded = self.status
        return status.message
