"""How many columns a factor begins with, and how many it may ever need."""

from __future__ import annotations

import math

# Columns that a huge sparse problem begins with: more are added when a certificate shows that they are too few.
START_RANK = 16


def default_rank(order: int) -> int:
    """Columns to start with: enough to have no spurious optima in practice, few enough to be fast.

    Optima of random sparse graphs were seen to have rank 1.4 N^(1/3) from N = 1,000 to 100,000, those of unions of
    planar graphs a little more.

    Examples
    --------
    >>> default_rank(3), default_rank(100), default_rank(10_000), default_rank(1_000_000)
    (3, 16, 40, 152)
    """
    barvinok_pataki = math.ceil(math.sqrt(2 * order)) + 1
    narrow = max(2.0 * math.log2(max(order, 2)), 1.5 * math.cbrt(order) + 2.0)
    # multiples of 8 fill vector registers
    return min(order, barvinok_pataki, 8 * math.ceil(narrow / 8))


def start_rank(order: int) -> int:
    """Columns that a huge sparse problem of this order begins with, a power of two.

    Examples
    --------
    >>> start_rank(5), start_rank(1_000_000)
    (8, 16)
    """
    return min(START_RANK, power_of_two(order), widest_rank(order))


def widest_rank(order: int) -> int:
    """Columns beyond which almost no cost has spurious optima, rounded up to a power of two.

    Examples
    --------
    >>> widest_rank(5), widest_rank(1_000_000)
    (8, 2048)
    """
    return power_of_two(math.isqrt(2 * order) + 2)


def power_of_two(number: int) -> int:
    """The least power of two that is at least a positive number.

    Examples
    --------
    >>> power_of_two(1), power_of_two(5), power_of_two(8)
    (1, 8, 8)
    """
    return 1 << (number - 1).bit_length()
