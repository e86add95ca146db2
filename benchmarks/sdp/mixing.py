"""The mixing method's own program, given by its path: time until its value is within the tolerance.

It certifies nothing, so its clock stops at the first iteration whose value is that close to the optimum.
Its ``time`` column is wall-clock time; it is scaled by the share of a processor that the program got.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.sdp.accuracy import Accuracy, measure
from benchmarks.sdp.instances import Instance, write_rudy
from benchmarks.sdp.outcome import Outcome

# Its default rank is sqrt(2 N); a smaller one is often several times faster, and the fastest counts.
RANKS = ("default", "/2", "/4")
ENDLESS = 100_000_000
POLL_SECONDS = 0.02
REPEATS = 9
REPEATED_SECONDS = 3.0
# The point of a longer run is not recomputed.
JUDGED_SECONDS = 10.0


@dataclass(frozen=True)
class _Run:
    """Iterations and seconds until the target, None where the program ended or was ended before."""

    iterations: int | None
    wall: float
    processor: float


def run_mixing(program: Path, instance: Instance, optimum: float, tol: float, limit: float) -> list[Outcome]:
    """Measure every rank setting, each until |value - optimum| <= tol |optimum| or ``limit`` seconds."""
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / "graph"
        offset = write_rudy(instance.cost, graph)
        target = optimum + tol * abs(optimum) - offset
        outcomes = []
        for rank in RANKS:
            outcomes.append(_setting(program, instance, graph, rank, target, limit))
            # a setting slower than another one need not be waited for
            limit = min([limit] + [o.wall for o in outcomes if o.wall is not None])
        return outcomes


def _setting(
    program: Path, instance: Instance, graph: Path, rank: str, target: float, limit: float
) -> Outcome:
    name = f"mixing, rank {rank}"
    runs = [_until(program, graph, rank, target, limit)]
    if runs[0].iterations is None:
        return Outcome(name, None, note=f"value not within the tolerance after {runs[0].wall:.3g} s")
    while len(runs) < REPEATS and sum(run.wall for run in runs) < REPEATED_SECONDS:
        runs.append(_until(program, graph, rank, target, limit))
    reached = Accuracy(None, None, None)
    if runs[0].wall < JUDGED_SECONDS:
        reached = _point(program, instance, graph, rank, runs[0].iterations)
    return Outcome(
        name,
        statistics.median(run.processor for run in runs),
        statistics.median(run.wall for run in runs),
        reached.value,
        reached.gap,
        reached.dense_gap,
        repeats=len(runs),
        note=f"{runs[0].iterations} iterations",
    )


def _arguments(program: Path, graph: Path, rank: str, iterations: int) -> list[str]:
    setting = [] if rank == "default" else ["-k", rank]
    return [str(program), "-s", "maxcut", "-e", "1e-300", "-t", str(iterations), *setting, str(graph)]


def _until(program: Path, graph: Path, rank: str, target: float, limit: float) -> _Run:
    """Let the program run beside its growing log, and end it once the log shows the target."""
    log = graph.with_suffix(".log")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with log.open("wb") as output:
        process = subprocess.Popen(_arguments(program, graph, rank, ENDLESS), stdout=output)
        try:
            iterations, wall = _watch(process, log, target, limit)
        finally:
            process.kill()
            process.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    lifetime = max([seconds for _, seconds, _ in _progress(log.read_text())], default=0.0)
    return _Run(iterations, wall, wall * min(busy / lifetime, 1.0) if lifetime > 0 else wall)


def _watch(
    process: subprocess.Popen[bytes], log: Path, target: float, limit: float
) -> tuple[int | None, float]:
    """Iteration and seconds of the first value at most ``target``, or None and the seconds at the end."""
    seconds = 0.0
    with log.open() as growing:
        rest = ""
        while True:
            ended = process.poll() is not None
            complete, newline, rest = (rest + growing.read()).rpartition("\n")
            for iteration, seconds, value in _progress(complete + newline):
                if value <= target:
                    return iteration, seconds
            if ended or seconds > limit:
                return None, seconds
            time.sleep(POLL_SECONDS)


def _progress(log: str) -> list[tuple[int, float, float]]:
    """Iteration, seconds and value from every complete line ``iter N time T fval F delta D``."""
    lines = [line.split() for line in log.split("\n")[:-1] if line.startswith("iter")]
    return [(int(words[1]), float(words[3]), float(words[5])) for words in lines]


def _point(program: Path, instance: Instance, graph: Path, rank: str, iterations: int) -> Accuracy:
    """Run again, untimed, to the iteration that counted, and judge the factor that it writes."""
    subprocess.run(_arguments(program, graph, rank, iterations), stdout=subprocess.DEVNULL, check=True)
    entries = np.array(Path(f"{graph}.sol").read_text().split(), dtype=np.float64)
    factor = entries.reshape(instance.order, -1)
    # it leaves zero rows where a vertex has no edges; any unit vector will do
    factor[~factor.any(axis=1), 0] = 1.0
    return measure(instance, factor)
