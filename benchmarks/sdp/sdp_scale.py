"""Time and memory of `solvers.low_rank` as graphs grow, on one thread and on two.

    python -m benchmarks.sdp.sdp_scale --output results

Random sparse graphs of mean degree five, MaxCut, certified to a relative gap of 1e-4.  Every run has a process of
its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.record import heading, machine, save

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
ORDERS = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
# One thread alone would take too long beyond this order.
BOTH_UP_TO = 300_000
DEGREE = 5


def main(arguments: list[str] | None = None) -> int:
    """Measure every order, write table, JSON and plot, and print where the table is."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, help="folder for table, JSON and plot")
    parser.add_argument("--largest", type=int, default=ORDERS[-1], help="vertices (default %(default)d)")
    parser.add_argument("--tol", type=float, default=1e-4, help="relative gap (default %(default)g)")
    parser.add_argument("--remark", default="", help="a sentence for the report")
    parser.add_argument("--run", type=int, nargs=2, metavar=("ORDER", "WORKERS"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.run:
        print(json.dumps(run(*options.run, options.tol)))
        return 0
    if options.output is None:
        parser.error("--output is required")
    rows: list[dict[str, Any]] = []
    for order in [order for order in ORDERS if order <= options.largest]:
        for workers in (1, 2) if order <= BOTH_UP_TO else (2,):
            rows.append(in_its_own_process(order, workers, options.tol))
            print(rows[-1], file=sys.stderr)
            table = write(options.output, rows, options.tol, options.remark)
    print(table)
    return 0


def in_its_own_process(order: int, workers: int, tol: float) -> dict[str, Any]:
    """Run this script for one graph; the linear algebra library keeps to the threads that call it."""
    environment = os.environ | dict.fromkeys(THREADS, "1")
    script = [sys.executable, "-m", "benchmarks.sdp.sdp_scale"]
    command = [
        *script,
        "--run",
        str(order),
        str(workers),
        "--tol",
        str(tol),
    ]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    measured: dict[str, Any] = json.loads(result.stdout)
    return measured


def run(order: int, workers: int, tol: float) -> dict[str, Any]:
    """Solve one graph, after a small one has compiled everything."""
    import resource
    import time

    from solvers import low_rank

    for warm in (1_000, 60_000):
        low_rank(random_graph(warm), tol=0.1, rng=0, max_iterations=20, workers=workers)
    problem = random_graph(order)
    problem.relaxation()
    before = time.perf_counter(), time.process_time()
    solution = low_rank(problem, tol=tol, rng=0, workers=workers)
    wall, processor = time.perf_counter() - before[0], time.process_time() - before[1]
    # Linux counts in kilobytes
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "order": order,
        "edges": problem.graph.nnz // 2,
        "workers": workers,
        "seconds": wall,
        "processor_seconds": processor,
        "peak_megabytes": peak,
        "rank": solution.rank,
        "sweeps": solution.iterations,
        "gap": solution.gap,
        "status": solution.status.name,
    }


def random_graph(order: int):
    """Each edge between two vertices drawn at random, with weight one."""
    import numpy as np
    import scipy.sparse as sp

    from solvers import MaxCut

    ends = np.random.default_rng(0).integers(0, order, (2, DEGREE * order // 2))
    ends = ends[:, ends[0] != ends[1]]
    half = sp.coo_array((np.ones(ends.shape[1]), ends), shape=(order, order))
    return MaxCut(sp.csr_array(half + half.T))


def write(folder: Path, rows: list[dict[str, Any]], tol: float, remark: str) -> Path:
    """The table, the numbers and the plot; returns the path of the table."""
    facts = {**machine(), "tol": tol, "remark": remark}
    names = (
        "order",
        "edges",
        "workers",
        "seconds",
        "processor_seconds",
        "peak_megabytes",
        "rank",
        "sweeps",
        "gap",
    )
    lines = [
        *heading("Growth with the size of the graph", facts, facts["processor"], f"{facts['cores']} cores"),
        f"Random graphs of mean degree {DEGREE}, MaxCut, relative gap {tol:g} with an estimated certificate; "
        f"`python -m benchmarks.sdp.sdp_scale`.",
        "",
        "| vertices | edges | threads | seconds | processor seconds | peak MB | rank | sweeps | gap | status |",
        "|" + "---|" * 10,
    ]
    for row in rows:
        cells = [f"{row[name]:.3g}" if isinstance(row[name], float) else str(row[name]) for name in names]
        lines.append("| " + " | ".join([*cells, str(row["status"]).lower()]) + " |")
    path = save(folder / f"sdp_scale_{facts['date'][:10]}.md", lines, {**facts, "rows": rows})
    plot(path.with_suffix(".png"), rows)
    return path


def plot(path: Path, rows: list[dict[str, Any]]) -> None:
    """Seconds and memory over vertices, beside a line of slope one."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for workers, marker in ((1, "o"), (2, "s")):
        chosen = [row for row in rows if row["workers"] == workers]
        label = "one thread" if workers == 1 else "two threads"
        for axis, name in zip(axes, ("seconds", "peak_megabytes"), strict=True):
            axis.loglog(
                [row["order"] for row in chosen], [row[name] for row in chosen], marker=marker, label=label
            )
    slope = rows[0]["seconds"] / rows[0]["order"]
    orders = [row["order"] for row in rows]
    axes[0].loglog(orders, [slope * order for order in orders], ":", color="gray", label="linear")
    axes[0].set(xlabel="vertices", ylabel="seconds to a certified gap of 1e-4")
    axes[1].set(xlabel="vertices", ylabel="peak memory of the process, MB")
    axes[0].legend()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


if __name__ == "__main__":
    sys.exit(main())
