"""The low-rank solver: estimated and rigorous certificates, and a reference value to judge others by."""

from __future__ import annotations

from contextlib import suppress

from benchmarks.sdp.accuracy import measure
from benchmarks.sdp.clock import repeated
from benchmarks.sdp.instances import Instance
from benchmarks.sdp.outcome import Outcome
from solvers import Solution, Status, low_rank

NAMES = {"estimate": "vispa", "rigorous": "vispa, rigorous"}
# The reference is solved this much more accurately than anything that is timed.
SHARPER = 0.1


def run_ours(certificate: str, instance: Instance, tol: float, limit: float) -> Outcome:
    """Time `low_rank` from the problem to the Solution, every repeat from another seed."""
    name = NAMES[certificate]
    problem = instance.problem

    def solve(seed: int) -> Solution:
        return low_rank(problem, tol=tol, certificate=certificate, max_seconds=limit, rng=seed)

    try:
        timed = repeated(solve)
    except ValueError as refusal:
        return Outcome(name, None, note=str(refusal))
    failed = timed.where(lambda solution: solution.status is not Status.CERTIFIED)
    # every start has to succeed
    done = not failed.results
    solution = timed.results[-1] if done else failed.results[-1]
    reached = measure(instance, solution.factor, solution.dual)
    seconds = timed.median()
    slowest = max(timing.processor for timing in timed.timings)
    return Outcome(
        name,
        seconds.processor if done else None,
        seconds.wall if done else None,
        reached.value,
        # a proved gap is its own evidence, and says more than an estimate does
        solution.gap if certificate == "rigorous" else reached.gap,
        reached.dense_gap,
        len(timed.results),
        f"slowest {slowest:.3g} s, rank {solution.rank}, {solution.iterations} iterations"
        if done
        else f"{solution.status.name.lower()}, gap {solution.gap:.1e}, {seconds.wall:.3g} s",
    )


def reference(instance: Instance, tol: float, limit: float) -> Solution:
    """A solution ten times as accurate, not timed; it and a coarse proof compile all that will be timed."""
    # too large a problem is refused
    with suppress(ValueError):
        low_rank(instance.problem, tol=1.0, certificate="rigorous", max_seconds=limit, rng=0)
    return low_rank(instance.problem, tol=SHARPER * tol, max_seconds=limit, rng=2**20)
