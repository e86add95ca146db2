"""The low-rank solver: estimated and rigorous certificates, and a reference value to judge others by."""

from __future__ import annotations

from accuracy import measure
from clock import repeated
from instances import Instance
from outcome import Outcome
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
    solution = timed.result
    reached = measure(instance, solution.factor, solution.dual)
    done = solution.status is Status.CERTIFIED
    return Outcome(
        name,
        timed.timing.processor if done else None,
        timed.timing.wall if done else None,
        reached.value,
        # a proved gap is its own evidence, and says more than an estimate does
        solution.gap if certificate == "rigorous" else reached.gap,
        reached.dense_gap,
        timed.repeats,
        f"slowest {timed.slowest:.3g} s, rank {solution.rank}, {solution.iterations} iterations"
        if done
        else f"{solution.status.name.lower()}, gap {solution.gap:.1e}, {timed.timing.wall:.3g} s",
    )


def reference(instance: Instance, tol: float, limit: float) -> Solution:
    """A solution ten times as accurate, not timed, which also compiles whatever was not compiled yet."""
    return low_rank(instance.problem, tol=SHARPER * tol, max_seconds=limit, rng=2**20)
