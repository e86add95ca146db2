"""Time `solve_sparse` on huge random and toroidal graphs, on one device, to certified relative gaps.

    python -m benchmarks.sdp.sdp_huge --device cuda --output benchmarks/results

Sizes go up until memory ends or a run takes longer than the limit.  Beside the times stand the passes over the
graph, the memory, and which share of the device's copy bandwidth sweeps and Lanczos products reach.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.sdp.huge_instances import GRAPHS
from benchmarks.sdp.huge_report import write
from solvers.torch_backend import SparseCost, solve_sparse
from solvers.torch_backend.sparse.colouring import coloured
from solvers.torch_backend.sparse.lanczos import SparseKrylov
from solvers.torch_backend.sparse.over_relaxation import Sweeps

SIZES = [10**4, 10**5, 10**6, 10**7, 3 * 10**7, 10**8, 2 * 10**8]
RANKS = (16, 32, 64)
COPIED_BYTES = {"cpu": 2**28, "cuda": 2**32}


def main(arguments: list[str] | None = None) -> int:
    """Measure, write the tables after every row, and print where they are."""
    options = _options(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    settings: dict[str, Any] = {
        "device": options.device,
        "copy_bandwidth": _copy_bandwidth(options.device),
        "limit": options.limit,
        "threads": torch.get_num_threads(),
        "remark": options.remark,
    }
    rows: list[dict[str, Any]] = []
    kernels: list[dict[str, Any]] = []
    for graph in options.graphs:
        for size in options.sizes:
            try:
                cost = GRAPHS[graph](size, options.device)
                kernels.extend(_kernels(graph, cost, settings["copy_bandwidth"], options.ranks))
                rows.extend(_solves(graph, cost, options))
            except (MemoryError, RuntimeError) as error:
                # the size that does not fit is a result, too
                rows.append(
                    {"graph": graph, "order": size, "status": f"{type(error).__name__}: {error}"[:200]}
                )
            table = write(options.output, settings, rows, kernels)
            print(graph, size, rows[-1].get("seconds", rows[-1]["status"]), file=sys.stderr)
            if rows[-1].get("status") != "certified":
                break
    print(table)
    return 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda", help="torch device (default %(default)s)")
    parser.add_argument("--output", type=Path, required=True, help="folder for the tables and the JSON")
    parser.add_argument("--sizes", type=lambda text: int(float(text)), nargs="+", default=SIZES)
    parser.add_argument("--graphs", nargs="+", choices=list(GRAPHS), default=list(GRAPHS))
    parser.add_argument("--tolerances", type=float, nargs="+", default=[1e-3, 1e-4])
    parser.add_argument("--ranks", type=int, nargs="+", default=RANKS, help="at which sweeps are timed")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds a solve (default %(default)g)")
    parser.add_argument("--threads", type=int, help="torch threads on the processor")
    parser.add_argument("--remark", default="", help="a sentence for the report")
    return parser.parse_args(arguments)


def _solves(graph: str, cost: SparseCost, options: argparse.Namespace) -> list[dict[str, Any]]:
    """One solve for each tolerance, after a short one that compiles the kernels."""
    found = []
    solve_sparse(cost, max_iterations=20, generator=_seeded(options.device))
    for tol in options.tolerances:
        _reset_peak(options.device)
        before = time.process_time()
        solution = solve_sparse(cost, tol=tol, max_seconds=options.limit, generator=_seeded(options.device))
        _wait(options.device)
        found.append(
            {
                "graph": graph,
                "order": cost.order,
                "entries": cost.entries,
                "tol": tol,
                "status": solution.status.name.lower(),
                "gap": solution.gap,
                "value": solution.report()["value"],
                "seconds": solution.seconds,
                "processor_seconds": time.process_time() - before,
                "sweeps": solution.iterations,
                "sweeps_by_rank": _sweeps_by_rank(solution.history),
                "peak_bytes": _peak(options.device),
            }
        )
    return found


def _sweeps_by_rank(history: Any) -> dict[int, int]:
    counts: dict[int, int] = {}
    before = 0
    for moment in history:
        counts[moment.rank] = counts.get(moment.rank, 0) + moment.iteration - before
        before = moment.iteration
    return counts


def _kernels(graph: str, cost: SparseCost, bandwidth: float, ranks: tuple[int, ...]) -> list[dict[str, Any]]:
    """Seconds of the colouring, of a sweep and of a Lanczos step, and the share of the bandwidth they reach."""
    device = str(cost.device)
    seconds, layout = _timed(lambda: coloured(cost), device)
    size, order, entries = cost.values.element_size(), layout.order, cost.entries
    about = {"graph": graph, "order": cost.order, "colours": len(layout.classes)}
    found: list[dict[str, Any]] = [{**about, "what": "colouring", "seconds": seconds}]
    for rank in ranks:
        factor = torch.randn(order, rank, device=cost.device, dtype=cost.dtype)
        factor /= torch.linalg.vector_norm(factor, dim=1, keepdim=True)
        sweeps = Sweeps(layout)
        moved = entries * (rank * size + size + 4) + 2 * order * rank * size
        seconds = _each(lambda sweeps=sweeps, factor=factor: sweeps.advance(factor, 10), device) / 10
        share = moved / seconds / bandwidth
        found.append(
            {**about, "what": f"sweep, rank {rank}", "seconds": seconds, "bytes": moved, "share": share}
        )
        del factor, sweeps
    start = torch.full((order,), order**-0.5, device=cost.device, dtype=cost.dtype)
    krylov = SparseKrylov(
        layout, torch.zeros_like(start), torch.ones_like(start), start, fused=Sweeps(layout).fused
    )
    moved = entries * (2 * size + 4) + 16 * order * size
    seconds = _each(lambda: krylov.extend(20), device) / 20
    share = moved / seconds / bandwidth
    found.append({**about, "what": "Lanczos step", "seconds": seconds, "bytes": moved, "share": share})
    return found


def _each(call: Callable[[], Any], device: str) -> float:
    """Median seconds of three calls, after one that is not counted."""
    call()
    return median(_timed(call, device)[0] for _ in range(3))


def _timed(call: Callable[[], Any], device: str) -> tuple[float, Any]:
    _wait(device)
    before = time.perf_counter()
    result = call()
    _wait(device)
    return time.perf_counter() - before, result


def _copy_bandwidth(device: str) -> float:
    """Bytes a second, read and written, of a long copy."""
    source = torch.ones(COPIED_BYTES[torch.device(device).type] // 4, device=device)
    target = torch.empty_like(source)
    return 2 * 4 * source.numel() / _each(lambda: target.copy_(source), device)


def _seeded(device: str) -> torch.Generator:
    return torch.Generator(device).manual_seed(0)


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def _reset_peak(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)


def _peak(device: str) -> int:
    """Bytes: on the device since the last reset, on the processor of the whole process so far."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device)
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    sys.exit(main())
