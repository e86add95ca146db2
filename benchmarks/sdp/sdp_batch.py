"""Time `solve_batch` on dense unit-diagonal SDPs with Gaussian costs, on the processor or a CUDA device.

    python -m benchmarks.sdp.sdp_batch --device cuda --output benchmarks/results
    python -m benchmarks.sdp.sdp_batch --device cpu --threads 1 --output benchmarks/results
    python -m benchmarks.sdp.sdp_batch --device cpu --threads 2 --output benchmarks/results

On a GPU, run sdp_shared.py and sdp_huge.py with --device cuda too, and first the tests that only a GPU can run:

    python3 -m pytest -m gpu

Needs torch, numpy and scipy; triton and numba are used where they are installed.  The rates are problems a second,
each certified to the tolerance named; some of each batch are checked with dense eigenvalues afterwards.
"""

from __future__ import annotations

import statistics
import sys
import time

import torch

from benchmarks.sdp.batch_ceilings import measure_ceilings
from benchmarks.sdp.batch_report import write
from benchmarks.sdp.batch_result import Measured
from benchmarks.sdp.device_options import device_options
from solvers.low_rank import low_rank
from solvers.testing.assert_certified import assert_certified
from solvers.torch_backend.dense.backends import choose_backend
from solvers.torch_backend.dense.solution import BatchSolution
from solvers.torch_backend.dense.solve_batch import solve_batch

# Order: numbers of problems.
GRIDS = {
    "cpu": {64: (64, 512), 128: (64,), 256: (16,)},
    "cuda": {64: (4096, 65536), 128: (4096,), 256: (512, 4096), 512: (512,), 1024: (128, 1000)},
}
# Problems that the processor solves one by one, and in a batch, on the same host.
LOOPED = {64: 32, 128: 16, 256: 6}
CHECKED = 4
# Random entries that are drawn for a batch.
DISTINCT_ENTRIES = 2**27
# A run is repeated unless it is long.
REPEATS = 3
LONG_SECONDS = 20.0


def main(arguments: list[str] | None = None) -> int:
    """Measure the grid and write the report."""
    options = device_options(__doc__, arguments)
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    grid = {
        n: counts for n, counts in GRIDS[device.type].items() if not options.orders or n in options.orders
    }
    ceilings = measure_ceilings(device)
    rows: list[Measured] = []
    for order, counts in grid.items():
        for dtype, tol in ((torch.float32, 1e-5), (torch.float64, 1e-6)):
            rows += on_the_host(order, dtype, tol)
            if device.type == "cuda" and order in LOOPED:
                here = torch.device("cpu")
                rows.append(measure(gaussian(4 * LOOPED[order], order, dtype, here), tol, kernels(here)[0]))
            for problems in counts:
                for kernel in kernels(device):
                    rows.append(measure(gaussian(problems, order, dtype, device), tol, kernel))
                    print(rows[-1], file=sys.stderr)
            # written anew each time: what was measured survives an interruption
            table = write(options.output, device, options.threads, options.remark, ceilings, rows)
    print(table)
    return 0


def gaussian(problems: int, order: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Costs G + G^T, the same on every device; a large batch repeats itself."""
    generator = torch.Generator().manual_seed(order)
    distinct = min(problems, DISTINCT_ENTRIES // order**2)
    costs = torch.randn(distinct, order, order, generator=generator, dtype=dtype)
    costs = costs.repeat(-(-problems // costs.shape[0]), 1, 1)[:problems].to(device)
    return costs + costs.mT


def kernels(device: torch.device) -> list[str]:
    """The default first; torch is always there."""
    return list(dict.fromkeys([choose_backend(None, device)[0], "torch"]))


def measure(costs: torch.Tensor, tol: float, kernel: str) -> Measured:
    """Median of a few runs after one of a few problems, which compiles and loads what is needed."""
    solve_batch(costs[:4], tol=tol, kernel=kernel)
    on_gpu = costs.device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(costs.device)
    timings = []
    for repeat in range(REPEATS):
        generator = torch.Generator(costs.device).manual_seed(repeat)
        synchronise(costs.device)
        processor, wall = time.process_time(), time.perf_counter()
        solved = solve_batch(costs, tol=tol, kernel=kernel, generator=generator)
        synchronise(costs.device)
        timings.append((time.process_time() - processor, time.perf_counter() - wall))
        if timings[-1][1] > LONG_SECONDS:
            break
    for index in range(0, len(solved), max(1, len(solved) // CHECKED)):
        assert_certified(solved.solution(index), tol)
    peak = torch.cuda.max_memory_allocated(costs.device) / 2**30 if on_gpu else None
    seconds = statistics.median(timing[by_the_clock(costs.device)] for timing in timings)
    wall = statistics.median(timing[1] for timing in timings)
    return summary(solved, costs, tol, f"solve_batch, {kernel}, {costs.device.type}", seconds, wall, peak)


def by_the_clock(device: torch.device) -> bool:
    """Whether the wall's clock counts; a single thread's own time is the fairer on a shared machine."""
    return device.type == "cuda" or torch.get_num_threads() > 1


def summary(
    solved: BatchSolution,
    costs: torch.Tensor,
    tol: float,
    name: str,
    seconds: float,
    wall: float,
    peak: float | None,
) -> Measured:
    """What the last of the runs did, and the work of its sweeps."""
    sweeps = float(solved.iterations.sum())
    order, width = costs.shape[1], solved.factor.shape[2]
    done = int(solved.certified.sum())
    return Measured(
        order=order,
        problems=len(solved),
        dtype=str(costs.dtype).removeprefix("torch."),
        tol=tol,
        solver=name,
        certified=done,
        seconds=seconds if done == len(solved) else None,
        wall=wall,
        mean_sweeps=sweeps / len(solved),
        most_sweeps=int(solved.iterations.max()),
        worst_gap=float(solved.gap.max()),
        flops=2.0 * sweeps * order**2 * width,
        bytes_read=4.0 * sweeps * order**2,
        peak_gibibytes=peak,
    )


def on_the_host(order: int, dtype: torch.dtype, tol: float) -> list[Measured]:
    """The solver of single problems on this machine's processor, in a loop; nothing where numba is missing."""
    count = LOOPED.get(order, 0)
    if count == 0 or "compiled" not in kernels(torch.device("cpu")):
        return []
    costs = gaussian(count, order, dtype, torch.device("cpu"))
    begun = solve_batch(costs, max_iterations=1)
    problems = [begun.solution(index).problem for index in range(count)]
    low_rank(problems[0], tol=tol, rng=0)
    processor, wall = time.process_time(), time.perf_counter()
    solutions = [low_rank(problem, tol=tol, rng=index) for index, problem in enumerate(problems)]
    processor, wall = time.process_time() - processor, time.perf_counter() - wall
    sweeps = [solution.iterations for solution in solutions]
    done = sum(solution.certified for solution in solutions)
    work = float(sum(sweeps)) * order**2
    return [
        Measured(
            order,
            count,
            str(dtype).removeprefix("torch."),
            tol,
            "low_rank in a loop, processor",
            done,
            (wall if by_the_clock(costs.device) else processor) if done == count else None,
            wall,
            statistics.mean(sweeps),
            max(sweeps),
            max(solution.gap for solution in solutions),
            2.0 * work * solutions[0].rank,
            8.0 * work,
            None,
        )
    ]


def synchronise(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    sys.exit(main())
