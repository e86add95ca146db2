"""Shifts to try until a Cholesky factorisation runs through: each a little larger than the last."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count


@dataclass(frozen=True)
class LadderSettings:
    """How shifts grow.

    Attributes
    ----------
    careful_growth : float
        Of the first shifts: an estimate of the eigenvalue is usually nearly right, and the bound pays for every
        excess.
    growth : float
        Of the later ones.
    """

    careful_growth: float = 1.2
    growth: float = 4.0


LADDER = LadderSettings()


def rising(first: float, careful: int, least: float = 0.0) -> Iterator[float]:
    """Shifts without end: ``first``, so many that grow carefully, then faster ones; all but the first >= ``least``.

    Examples
    --------
    >>> from itertools import islice
    >>> [round(shift, 2) for shift in islice(rising(1.0, 2), 4)]
    [1.0, 1.2, 1.44, 5.76]
    """
    shift = first
    for attempt in count():
        yield shift
        shift = max((LADDER.careful_growth if attempt < careful else LADDER.growth) * shift, least)
