"""Ctrl-C at every few lines of a search or a descent: what comes back is true, and something does come back."""

import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import solvers
import vispa
from solvers import BinaryQuadratic, Status, brute_force, low_rank, tabu_search
from solvers.burer_monteiro import component_solver
from solvers.linalg.matvec import Matvec

ROOT = str(Path(solvers.__file__).parents[1])
N = 10
_HALF = np.triu(np.random.default_rng(0).standard_normal((N, N)), 1)
PROBLEM = BinaryQuadratic(_HALF + _HALF.T, np.ones(N))
MINIMUM = brute_force(PROBLEM).value


def pressed(work, line):
    """What the work returns where Ctrl-C is pressed at this line of ours, and how many lines there were."""
    count, before, press = 0, sys.gettrace(), signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)

    def local(frame, event, argument):
        nonlocal count
        count += event == "line"
        if event == "line" and count == line:
            signal.raise_signal(signal.SIGINT)
        return local

    sys.settrace(lambda frame, *_: local if frame.f_code.co_filename.startswith(ROOT) else None)
    try:
        return work(), count
    except KeyboardInterrupt:
        return None, count
    finally:
        sys.settrace(before)
        signal.signal(signal.SIGINT, press)


def solve():
    return low_rank(PROBLEM, rng=0, method="interior-point")


def search():
    return tabu_search(PROBLEM, np.ones(N), rng=0, max_iterations=500)


def descend():
    generator = torch.Generator().manual_seed(0)
    options = {"max_iterations": 2, "samples": 4, "evaluation_samples": 8}
    return vispa.minimize(PROBLEM, rank=1, generator=generator, **options)


def judge(found):
    if hasattr(found, "signs"):
        assert found.value == pytest.approx(float(PROBLEM.evaluate(found.signs)), rel=1e-9)
        assert found.value >= MINIMUM - 1e-9
    else:
        cost = PROBLEM.relaxation().cost
        assert np.linalg.norm(found.factor, axis=1) == pytest.approx(1.0)
        assert found.value == pytest.approx(float(np.vdot(found.factor, cost @ found.factor)), rel=1e-9)
    bound = getattr(found, "lower_bound", None)
    assert bound is None or bound <= MINIMUM + 1e-6 * abs(MINIMUM)


@pytest.mark.parametrize("work", [solve, search, descend])
def test_an_interrupt_at_any_line_returns_something_true(work):
    judge(work())
    _, lines = pressed(work, -1)
    moments = np.unique(np.linspace(1, lines, 60, dtype=int))
    lost = 0
    for moment in moments.tolist():
        found, _ = pressed(work, moment)
        if found is None:
            lost += 1
        else:
            judge(found)
    # what comes before the work has begun, or at its very last line, is raised
    assert lost <= len(moments) // 4, f"{lost} of {len(moments)}"


def test_the_width_of_a_factor_changes_with_it(monkeypatch):
    """An interrupt between the two would cut rows of the factor off, where the interior point's is narrower."""
    found, pressed = [], []
    follow, arrange = component_solver.follow_central_path, Matvec.arrange

    def followed(*arguments):
        found.append(follow(*arguments))
        return found[-1]

    def interrupted(self, factor):
        if found and not pressed:
            pressed.append(factor.shape)
            signal.raise_signal(signal.SIGINT)
        return arrange(self, factor)

    monkeypatch.setattr(component_solver, "follow_central_path", followed)
    monkeypatch.setattr(Matvec, "arrange", interrupted)
    solution = low_rank(PROBLEM, rng=0, method="interior-point", rank=N)
    assert pressed
    assert pressed[0][1] < N
    assert solution.status is Status.INTERRUPTED
    judge(solution)
