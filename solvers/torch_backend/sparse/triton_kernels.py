"""Triton kernels for huge sparse costs: one program takes a block of rows of one colour.

A program walks along its rows' entries, one entry of every row at a time, and gathers the neighbours' rows of the
factor, each of them contiguous.  Rows are sorted by their number of entries, so few lanes idle.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _gradient(pointers, indices, values, factor, rows, live, columns, within, WIDTH: tl.constexpr):
    """Row block of C V, (rows, columns); C in CSR form."""
    start = tl.load(pointers + rows, mask=live, other=0)
    end = tl.load(pointers + rows + 1, mask=live, other=0)
    gradient = tl.zeros((rows.shape[0], columns.shape[0]), dtype=factor.dtype.element_ty)
    for offset in range(0, tl.max(end - start, axis=0)):
        position = start + offset
        more = position < end
        neighbour = tl.load(indices + position, mask=more, other=0).to(tl.int64)
        weight = tl.load(values + position, mask=more, other=0.0)
        source = factor + neighbour[:, None] * WIDTH + columns[None, :]
        gradient += weight[:, None] * tl.load(source, mask=more[:, None] & within[None, :], other=0.0)
    return gradient


@triton.jit
def sweep_rows(
    pointers, indices, values, factor, step, decreases, first, last, DELAY: tl.constexpr,
    WIDTH: tl.constexpr, PADDED: tl.constexpr, HEIGHT: tl.constexpr,
):  # fmt: skip
    """Move rows first .. last - 1, which must not meet one another, past their minimisers, in place."""
    rows = first + tl.program_id(0) * HEIGHT + tl.arange(0, HEIGHT)
    live = rows < last
    columns = tl.arange(0, PADDED)
    within = columns < WIDTH
    gradient = _gradient(pointers, indices, values, factor, rows, live, columns, within, WIDTH)
    place = factor + rows.to(tl.int64)[:, None] * WIDTH + columns[None, :]
    held = live[:, None] & within[None, :]
    row = tl.load(place, mask=held, other=0.0)
    squared = tl.sum(gradient * gradient, axis=1)
    aligned = tl.sum(gradient * row, axis=1)
    moves = squared > 0
    number = tl.load(step)
    beta = (number / (number + DELAY)).to(factor.dtype.element_ty)
    ahead = -(1.0 + beta) / tl.sqrt(tl.where(moves, squared, 1.0))
    moved = ahead[:, None] * gradient - beta * row
    norm = tl.sqrt(tl.where(moves, tl.sum(moved * moved, axis=1), 1.0))
    tl.store(place, moved / norm[:, None], mask=held & moves[:, None])
    changed = (ahead * squared - beta * aligned) / norm
    tl.store(decreases + tl.program_id(0), tl.sum(tl.where(moves, 2.0 * (aligned - changed), 0.0), axis=0))


@triton.jit
def gradient_rows(
    pointers, indices, values, factor, result, first, last,
    WIDTH: tl.constexpr, PADDED: tl.constexpr, HEIGHT: tl.constexpr,
):  # fmt: skip
    """Rows first .. last - 1 of C V."""
    rows = first + tl.program_id(0) * HEIGHT + tl.arange(0, HEIGHT)
    live = rows < last
    columns = tl.arange(0, PADDED)
    within = columns < WIDTH
    gradient = _gradient(pointers, indices, values, factor, rows, live, columns, within, WIDTH)
    place = result + (rows - first).to(tl.int64)[:, None] * WIDTH + columns[None, :]
    tl.store(place, gradient, mask=live[:, None] & within[None, :])


@triton.jit
def slack_product(
    pointers,
    indices,
    values,
    dual,
    scale,
    scaled,
    previous,
    beta,
    image,
    order,
    longest,
    HEIGHT: tl.constexpr,
):
    """Scale * ((C - Diag(y)) scaled) - beta previous; rows with more than ``longest`` entries leave C out."""
    rows = tl.program_id(0) * HEIGHT + tl.arange(0, HEIGHT)
    live = rows < order
    start = tl.load(pointers + rows, mask=live, other=0)
    end = tl.load(pointers + rows + 1, mask=live, other=0)
    length = end - start
    length = tl.where(length > longest, 0, length)
    total = tl.zeros((HEIGHT,), dtype=scaled.dtype.element_ty)
    for offset in range(0, tl.max(length, axis=0)):
        more = offset < length
        neighbour = tl.load(indices + start + offset, mask=more, other=0)
        weight = tl.load(values + start + offset, mask=more, other=0.0)
        total += weight * tl.load(scaled + neighbour, mask=more, other=0.0)
    total -= tl.load(dual + rows, mask=live, other=0.0) * tl.load(scaled + rows, mask=live, other=0.0)
    total *= tl.load(scale + rows, mask=live, other=0.0)
    total -= tl.load(beta) * tl.load(previous + rows, mask=live, other=0.0)
    tl.store(image + rows, total, mask=live)
