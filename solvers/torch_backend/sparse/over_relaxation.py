"""Over-relaxed Gauss-Seidel sweeps, one colour of rows at a time: in torch, and on CUDA by fused Triton kernels.

The update of a row is that of `solvers.kernels.row_update`, and the schedule beta_t = t / (t + 6) is that of
`solvers.methods.over_relaxation`; colours only change the order.  A row's move depends on rows of other colours
alone, so the result is the same however the rows of a colour are divided among threads.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from solvers.linalg.rank import power_of_two
from solvers.methods.over_relaxation import DELAY
from solvers.torch_backend.dense.backends import triton_runs
from solvers.torch_backend.sparse.colouring import ColourClass, HeavyRows, Layout

# Entries of the factor handled in one go on the processor, so that they stay in its cache.
CACHED = 2**18
# Entries of C V that are held at once where only its products with V are wanted.
EVALUATED = 2**24
# Entries of the factor in a block of the Triton kernel.
BLOCK = 1024


class Sweeps:
    """Sweeps over the rows of a factor, in place.

    Parameters
    ----------
    layout : Layout
    fused : bool, optional
        Whether to use the Triton kernels; by default where they can run.

    Notes
    -----
    A sweep moves about nnz (k s + s + 4) + 2 n k s bytes for k columns of s bytes.
    """

    def __init__(self, layout: Layout, *, fused: bool | None = None) -> None:
        self.layout = layout
        self.device = layout.values.device
        self.fused = triton_runs(self.device) if fused is None else fused
        self.iterations = 0
        self._step = torch.zeros(1, device=self.device)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._recorded: tuple[int, int, int] | None = None
        self._decreases = torch.zeros(2, dtype=torch.float64, device=self.device)

    def advance(self, factor: Tensor, count: int) -> tuple[float, float]:
        """Run ``count`` sweeps; return the decrease in the last one and in all, the only word from the device."""
        self._decreases.zero_()
        if self._may_replay():
            self._replay(factor, count)
        else:
            self._run(factor, count)
        self.iterations += count
        last, total = self._decreases.tolist()
        return last, total

    def _run(self, factor: Tensor, count: int) -> None:
        for _ in range(count):
            beta = self._step / (self._step + DELAY)
            parts = [self._sweep_class(factor, rows, beta) for rows in self.layout.classes]
            decrease = torch.stack(parts).sum() if parts else self._decreases.new_zeros(())
            self._decreases[0] = decrease
            self._decreases[1] += decrease
            self._step += 1

    def _sweep_class(self, factor: Tensor, rows: ColourClass, beta: Tensor) -> Tensor:
        """Move the rows of one colour; return the decrease, a float64 scalar on the device."""
        parts = []
        if self.fused and rows.first < rows.light:
            parts.append(sweep_fused(self.layout, factor, rows.first, rows.light, self._step))
        else:
            parts.extend(
                relax(factor[first:last], gradient_rows(self.layout, factor, first, last), beta)
                for first, last in blocks(rows, factor.shape[1])
            )
        if rows.heavy is not None:
            parts.append(relax(factor[rows.light : rows.last], gradient_heavy(rows.heavy, factor), beta))
        return torch.stack(parts).sum()

    def _may_replay(self) -> bool:
        """A recorded block of sweeps saves the launches, which cost more than the work below 10^6 rows."""
        return self.fused and all(rows.heavy is None for rows in self.layout.classes)

    def _replay(self, factor: Tensor, count: int) -> None:
        key = (factor.data_ptr(), factor.shape[1], count)
        if self._recorded != key:
            self._graph, self._recorded = None, None
            # kernels are compiled by this first run, before anything is recorded
            self._run(factor, count)
            step, decreases = self._step.clone(), self._decreases.clone()
            torch.cuda.synchronize(self.device)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self._run(factor, count)
            # recording runs nothing, but what it would have changed is put back all the same
            self._step.copy_(step)
            self._decreases.copy_(decreases)
            self._graph, self._recorded = graph, key
            return
        assert self._graph is not None
        self._graph.replay()


def relax(rows: Tensor, gradient: Tensor, beta: Tensor) -> Tensor:
    """Move rows past their minimisers -g/|g| by the factor 1 + beta, in place; return the decrease."""
    squared = torch.linalg.vecdot(gradient, gradient)
    aligned = torch.linalg.vecdot(gradient, rows)
    moves = squared > 0
    length = torch.where(moves, squared, 1.0).sqrt_()
    beta = beta.to(rows.dtype)
    ahead = torch.where(moves, -(1.0 + beta) / length, 0.0)
    behind = torch.where(moves, -beta, 1.0)
    rows.mul_(behind[:, None]).addcmul_(gradient, ahead[:, None])
    scale = torch.linalg.vecdot(rows, rows).rsqrt_()
    rows.mul_(scale[:, None])
    changed = (ahead * squared + behind * aligned) * scale
    return 2.0 * torch.where(moves, aligned - changed, 0.0).sum(dtype=torch.float64)


def gradient_rows(layout: Layout, factor: Tensor, first: int, last: int, *, fused: bool = False) -> Tensor:
    """The rows first .. last - 1 of C V, each with at most HEAVY entries."""
    if fused:
        return gradient_fused(layout, factor, first, last)
    start, stop = int(layout.pointers[first]), int(layout.pointers[last])
    offsets = layout.pointers[first : last + 1] - layout.pointers[first]
    return weighted_sums(layout.indices[start:stop], factor, offsets, layout.values[start:stop])


def weighted_sums(indices: Tensor, rows: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
    """Sums of weighted rows, one for each range of ``offsets``: a sparse product in a single pass."""
    return F.embedding_bag(
        indices, rows, offsets, mode="sum", per_sample_weights=weights, include_last_offset=True
    )


def gradient_heavy(heavy: HeavyRows, factor: Tensor) -> Tensor:
    """The heavy rows of one colour of C V: their pieces, which are then added up."""
    pieces = weighted_sums(heavy.indices, factor, heavy.starts, heavy.values)
    numbers = torch.arange(pieces.shape[0], device=pieces.device)
    return weighted_sums(numbers, pieces, heavy.pieces, torch.ones_like(pieces[:, 0]))


def blocks(rows: ColourClass, width: int, entries: int = CACHED) -> list[tuple[int, int]]:
    """Ranges of rows first .. light - 1 that hold so many entries of a factor each."""
    step = max(entries // width, 1)
    return [(first, min(first + step, rows.light)) for first in range(rows.first, rows.light, step)]


class Evaluation(NamedTuple):
    """Multipliers y_i = <(C V)_i, v_i>, in the dtype of V, and their sum in float64."""

    multipliers: Tensor
    value: float


def evaluate(layout: Layout, factor: Tensor, *, fused: bool) -> Evaluation:
    """Gather C V once, in blocks that are never kept.

    Notes
    -----
    O(nnz k) time; beside the result, one block of C V.
    """
    multipliers = torch.empty(layout.order, dtype=factor.dtype, device=factor.device)
    for rows in layout.classes:
        for first, last in blocks(rows, factor.shape[1], EVALUATED):
            gradient = gradient_rows(layout, factor, first, last, fused=fused)
            multipliers[first:last] = torch.linalg.vecdot(gradient, factor[first:last])
        if rows.heavy is not None:
            gradient = gradient_heavy(rows.heavy, factor)
            multipliers[rows.light : rows.last] = torch.linalg.vecdot(
                gradient, factor[rows.light : rows.last]
            )
    return Evaluation(multipliers, float(multipliers.sum(dtype=torch.float64)))


def sweep_fused(layout: Layout, factor: Tensor, first: int, last: int, step: Tensor) -> Tensor:
    """Gather, relax and normalise rows first .. last - 1 in one kernel; return the decrease."""
    from solvers.torch_backend.sparse.triton_kernels import sweep_rows

    width, padded, height = _block_shape(factor)
    programs = -(-(last - first) // height)
    decreases = torch.empty(programs, dtype=factor.dtype, device=factor.device)
    arrays = (layout.pointers, layout.indices, layout.values, factor, step, decreases)
    sweep_rows[(programs,)](*arrays, first, last, DELAY, WIDTH=width, PADDED=padded, HEIGHT=height)
    return decreases.sum(dtype=torch.float64)


def gradient_fused(layout: Layout, factor: Tensor, first: int, last: int) -> Tensor:
    """Rows first .. last - 1 of C V by a kernel."""
    from solvers.torch_backend.sparse.triton_kernels import gradient_rows as kernel

    width, padded, height = _block_shape(factor)
    result = torch.empty(last - first, width, dtype=factor.dtype, device=factor.device)
    grid = (-(-(last - first) // height),)
    arrays = (layout.pointers, layout.indices, layout.values, factor, result)
    kernel[grid](*arrays, first, last, WIDTH=width, PADDED=padded, HEIGHT=height)
    return result


def _block_shape(factor: Tensor) -> tuple[int, int, int]:
    width = factor.shape[1]
    padded = power_of_two(width)
    return width, padded, max(BLOCK // padded, 1)
