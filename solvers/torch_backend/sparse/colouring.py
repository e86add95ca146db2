"""Colour the rows of a sparse cost and put them in the order in which they are swept.

Rows of one colour do not meet in the cost, so they can all move at once, and a pass over the colours is a
Gauss-Seidel sweep in another order.  The colouring is that of Jones and Plassmann (1993): every row takes the
least colour that its neighbours of higher priority leave free, so the result depends on the priorities alone, and
not on how the work was divided.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from solvers.torch_backend.sparse.cost import SparseCost, times_power

# Entries moved in one go.
CHUNK = 2**25
# Rows with more entries than this are gathered in pieces: a hub would hold up everything else.
HEAVY = 1024


class HeavyRows(NamedTuple):
    """Rows with many entries, cut into pieces.

    Attributes
    ----------
    indices, values : Tensor
        The entries of all of them, one row after the other.
    starts : (p + 1,) int64 Tensor
        Where each piece starts, and where the last one ends.
    pieces : (h + 1,) int64 Tensor
        The first piece of each row, and the number of all.
    """

    indices: Tensor
    values: Tensor
    starts: Tensor
    pieces: Tensor


class ColourClass(NamedTuple):
    """Rows first .. last - 1 share a colour; those from ``light`` on have many entries."""

    first: int
    light: int
    last: int
    heavy: HeavyRows | None = None


class Layout(NamedTuple):
    """A cost with its rows sorted by colour, then by number of entries; rows that meet no other row come last.

    Attributes
    ----------
    pointers, indices, values
        As in `SparseCost`, for the rows that meet others.
    classes : list of ColourClass
    rows : (n,) int64 Tensor
        The original row behind each row here.
    exponent : int
        Of the power of two that the cost is divided by here.
    """

    pointers: Tensor
    indices: Tensor
    values: Tensor
    classes: list[ColourClass]
    rows: Tensor
    exponent: int

    @property
    def order(self) -> int:
        """Number of rows that meet others."""
        return int(self.pointers.shape[0]) - 1


def coloured(cost: SparseCost) -> Layout:
    """Sort the rows of a cost by colour and scale its values by a power of two, to at most one.

    Notes
    -----
    O(nnz log n) time; beside the result, about 10 bytes an entry and 50 bytes a row for a while.
    """
    degrees = cost.pointers.diff()
    colours = colour_rows(cost.pointers, cost.indices)
    longest = int(degrees.amax()) + 1
    count = int(colours.amax()) + 1
    # rows without entries after all others
    key = torch.where(degrees > 0, colours.long() * longest + degrees, count * longest)
    rows = torch.sort(key, stable=True).indices
    active = int((degrees > 0).sum())
    largest = float(cost.values.abs().amax()) if cost.entries else 0.0
    exponent = int(torch.frexp(torch.tensor(largest, dtype=torch.float64)).exponent)
    pointers, indices, values = _reordered(cost, rows[:active], exponent)
    classes = _classes(colours[rows[:active]], pointers, indices, values)
    return Layout(pointers, indices, values, classes, rows, exponent + cost.exponent)


def colour_rows(pointers: Tensor, indices: Tensor) -> Tensor:
    """A colour for each row, (n,) int32, such that rows that meet differ; rows without entries get 0.

    Examples
    --------
    >>> colour_rows(torch.tensor([0, 1, 3, 4]), torch.tensor([1, 0, 2, 1])).unique().numel()
    2
    """
    order, device = pointers.shape[0] - 1, pointers.device
    priority = _scrambled(torch.arange(order, device=device))
    rows = torch.repeat_interleave(torch.arange(order, device=device, dtype=torch.int32), pointers.diff())
    later = priority[indices] > priority[rows]
    rows, above = rows[later], indices[later]
    del later, priority
    waiting = torch.bincount(rows, minlength=order)
    colours = torch.where(waiting == 0, 0, -1).int()
    chosen = torch.zeros(order, dtype=torch.bool, device=device)
    done = colours >= 0
    while rows.numel():
        # an edge whose upper end was coloured in the last round no longer holds its lower end up
        waiting -= torch.bincount(rows[(done & ~chosen)[above]], minlength=order)
        chosen |= done
        ready = (waiting == 0) & ~done
        touched = ready[rows]
        _least_free(colours, ready, rows[touched], above[touched])
        done = colours >= 0
        rows, above = rows[~touched], above[~touched]
    return colours


def _least_free(colours: Tensor, ready: Tensor, rows: Tensor, above: Tensor) -> None:
    """Give each ready row the least colour that none of its edges' upper ends has, in place."""
    numbers = ready.nonzero()[:, 0]
    place = torch.cumsum(ready, 0) - 1
    taken = torch.zeros(numbers.shape[0], int(colours.amax()) + 2, dtype=torch.uint8, device=colours.device)
    taken[place[rows], colours[above].long()] = 1
    colours[numbers] = taken.cumprod(dim=1, dtype=torch.uint8).sum(dim=1, dtype=torch.int32)


def _scrambled(numbers: Tensor) -> Tensor:
    """A fixed permutation of the 32-bit integers: odd multipliers and shifted xors lose nothing, so no two tie."""
    mask = 0xFFFFFFFF
    mixed = numbers.long()
    for multiplier in (0x7FEB352D, 0x846CA68B):
        mixed = mixed ^ (mixed >> 16)
        mixed = (mixed * multiplier) & mask
    return mixed ^ (mixed >> 15)


def _reordered(cost: SparseCost, rows: Tensor, exponent: int) -> tuple[Tensor, Tensor, Tensor]:
    """The block of ``rows``, renumbered in their order; a few million entries at a time."""
    order, device = int(rows.shape[0]), cost.device
    place = torch.zeros(cost.order, dtype=torch.int32, device=device)
    place[rows] = torch.arange(order, dtype=torch.int32, device=device)
    starts = cost.pointers[rows]
    lengths = cost.pointers[rows + 1] - starts
    pointers = torch.zeros(order + 1, dtype=torch.int64, device=device)
    torch.cumsum(lengths, 0, out=pointers[1:])
    indices, values = torch.empty_like(cost.indices), torch.empty_like(cost.values)
    shifts = starts - pointers[:-1]
    for first in range(0, cost.entries, CHUNK):
        here = torch.arange(first, min(first + CHUNK, cost.entries), device=device)
        source = here + shifts[torch.searchsorted(pointers, here, right=True) - 1]
        indices[first : first + CHUNK] = place[cost.indices[source].long()]
        values[first : first + CHUNK] = times_power(cost.values[source], -exponent)
    return pointers.int(), indices, values


def _classes(colours: Tensor, pointers: Tensor, indices: Tensor, values: Tensor) -> list[ColourClass]:
    """Where each colour starts, where its heavy rows start, and where it ends; rows are sorted."""
    if colours.numel() == 0:
        return []
    sizes = torch.bincount(colours)
    many = torch.bincount(colours[pointers.diff() > HEAVY], minlength=sizes.shape[0])
    ends = torch.cumsum(sizes, 0)
    classes = []
    for end, size, number in zip(ends.tolist(), sizes.tolist(), many.tolist(), strict=True):
        heavy = _heavy_rows(pointers[end - number : end + 1].long(), indices, values) if number else None
        classes.append(ColourClass(end - size, end - number, end, heavy))
    return classes


def _heavy_rows(pointers: Tensor, indices: Tensor, values: Tensor) -> HeavyRows:
    first, last = int(pointers[0]), int(pointers[-1])
    counts = (pointers.diff() + HEAVY - 1) // HEAVY
    pieces = torch.cat([counts.new_zeros(1), torch.cumsum(counts, 0)])
    owner = torch.repeat_interleave(torch.arange(counts.shape[0], device=counts.device), counts)
    within = torch.arange(owner.shape[0], device=counts.device) - pieces[owner]
    starts = torch.cat([pointers[owner] - first + HEAVY * within, counts.new_tensor([last - first])])
    return HeavyRows(indices[first:last].long(), values[first:last], starts, pieces)
