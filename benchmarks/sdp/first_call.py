"""What the first solve of a fresh process costs beyond the solve: imports, and compiling or loading kernels.

Run as a program it is that fresh process; `measure_first_call` starts it with an empty and a filled cache.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

WARM_REPEATS = 3
ORDER = 1000


def measure_first_call() -> dict[str, dict[str, float]]:
    """Seconds beyond the solve, with a cold and with a warm kernel cache."""
    with tempfile.TemporaryDirectory() as cache:
        cold = _fresh_process(cache)
        warm = [_fresh_process(cache) for _ in range(WARM_REPEATS)]
    medians = {clock: statistics.median(run[clock] for run in warm) for clock in cold}
    return {"cold": cold, "warm": medians}


def _fresh_process(cache: str) -> dict[str, float]:
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", __spec__.name],
        env={**os.environ, "NUMBA_CACHE_DIR": cache},
        capture_output=True,
        check=True,
        text=True,
    )
    seconds = json.loads(done.stdout)
    return {"processor": seconds["processor"], "wall": seconds["ended"] - started - seconds["wall_beside"]}


def main() -> None:
    """Solve a sparse graph and a grid, which need different kernels, twice each; report what was in excess."""
    from solvers import low_rank

    imported = time.process_time()
    building = time.monotonic()
    from benchmarks.sdp.instances import generated

    problems = [instance.problem for instance in generated(ORDER) if "dense" not in instance.name]
    started, building = time.process_time(), time.monotonic() - building
    for problem in problems:
        low_rank(problem, rng=0)
    ended = time.monotonic()
    first = time.process_time() - started
    again = time.process_time()
    for problem in problems:
        low_rank(problem, rng=0)
    second = time.process_time() - again
    wall_beside = building + time.monotonic() - ended
    print(json.dumps({"processor": imported + first - second, "wall_beside": wall_beside, "ended": ended}))


if __name__ == "__main__":
    main()
