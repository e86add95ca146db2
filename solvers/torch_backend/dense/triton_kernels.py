"""Over-relaxed coordinate sweeps on a GPU: one program a problem, rows and their gradients in registers.

The mathematics is that of `solvers.torch_backend.dense.over_relaxation`, the reference of this kernel.
"""

import triton
import triton.language as tl


@triton.jit
def relax_rows(
    block,
    outside,
    rows,
    betas,
    decreases,
    block_problem,
    block_row,
    rows_problem,
    rows_row,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
    SWEEPS: tl.constexpr,
    PADDED_ROWS: tl.constexpr,
    PADDED_WIDTH: tl.constexpr,
):
    """Relax all rows of a block ``SWEEPS`` times; each new row reaches the gradients of all others at once.

    ``outside`` is contiguous (B, ROWS, WIDTH) and only read; ``decreases`` (B,) is zero on entry and receives the
    decrease of the last sweep.
    """
    problem = tl.program_id(0).to(tl.int64)
    row = tl.arange(0, PADDED_ROWS)
    column = tl.arange(0, PADDED_WIDTH)
    inside = (row < ROWS)[:, None] & (column < WIDTH)[None, :]
    place = rows + problem * rows_problem + row[:, None] * rows_row + column[None, :]
    factor = tl.load(place, mask=inside, other=0.0)
    position = problem * ROWS * WIDTH + row[:, None] * WIDTH + column[None, :]
    gradients = tl.load(outside + position, mask=inside, other=0.0)
    decrease = tl.load(decreases + problem)
    for sweep in range(SWEEPS):
        beta = tl.load(betas + problem * SWEEPS + sweep)
        decrease = decrease * 0.0
        for i in range(ROWS):
            here = (row == i)[:, None]
            own = tl.sum(tl.where(here, factor, 0.0), axis=0)
            gradient = tl.sum(tl.where(here, gradients, 0.0), axis=0)
            squared = tl.sum(gradient * gradient, axis=0)
            moves = squared > 0.0
            length = tl.sqrt(squared)
            minimiser = -gradient / tl.where(moves, length, 1.0)
            apart = own - minimiser
            distance = 0.5 * tl.sum(apart * apart, axis=0)
            norm = tl.sqrt(1.0 + 2.0 * (1.0 + beta) * beta * distance)
            # a row without a gradient stays where it is
            moved = tl.where(moves, (minimiser - beta * apart) / norm - own, 0.0)
            factor = tl.where(here, factor + moved[None, :], factor)
            costs = tl.load(block + problem * block_problem + i * block_row + row, mask=row < ROWS, other=0.0)
            gradients += costs[:, None] * moved[None, :]
            after = beta * beta * distance * (2.0 - distance) / (norm * (norm + 1.0 + beta * distance))
            # length is zero where there is no gradient
            decrease += 2.0 * length * (distance - after)
    tl.store(place, factor, mask=inside)
    tl.store(decreases + problem, decrease)
