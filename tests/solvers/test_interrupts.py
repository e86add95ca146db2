"""Ctrl-C at any moment of a solve: the best point comes back, and nothing is left behind."""

import signal
import sys
import threading
import time

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator

from solvers import Elliptope, MaxCut, Status, low_rank
from solvers.interrupts import HeldInterrupts

WATCHED = [
    "solvers.low_rank._start_factor",
    "solvers.burer_monteiro.solver.Presolve",
    "solvers.burer_monteiro.solver.ComponentSolver",
    "solvers.burer_monteiro.solver.Monitor",
    "solvers.burer_monteiro.solver._solve_components",
    "solvers.burer_monteiro.solver._assembled",
    "solvers.low_rank.finish",
]


def graph(n=60, seed=0):
    half = sp.random_array((n, n), density=4.0 / n, rng=np.random.default_rng(seed))
    return MaxCut(half + half.T)


def press():
    signal.raise_signal(signal.SIGINT)


@pytest.fixture(autouse=True)
def own_handler():
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("where", WATCHED)
@pytest.mark.parametrize("after", [False, True])
def test_an_interrupt_at_any_stage_returns_the_best_point(where, after, monkeypatch):
    module, name = where.rsplit(".", 1)
    place = sys.modules[module]
    stage = getattr(place, name)

    def interrupted(*arguments, **options):
        if not after:
            press()
        result = stage(*arguments, **options)
        if after:
            press()
        return result

    monkeypatch.setattr(place, name, interrupted)
    solution = low_rank(graph(), tol=1e-13, rng=0)
    # what was solved before stays solved
    began = after or where in WATCHED[-2:]
    assert solution.status is Status.INTERRUPTED or (began and solution.certified)
    assert solution.lower_bound <= solution.value
    assert np.isfinite(solution.lower_bound)
    assert np.linalg.norm(solution.factor, axis=1) == pytest.approx(1.0)
    value = float(np.vdot(solution.factor, graph().relaxation().cost @ solution.factor))
    assert solution.value == pytest.approx(value, rel=1e-9)


def test_any_moment_of_a_large_set_up_will_do():
    problem = graph(20_000)
    for moment in np.linspace(1e-3, 0.16, 12):
        timer = threading.Thread(target=press_during_the_solve, args=(moment,))
        timer.start()
        solution = low_rank(problem, tol=1e-12, rng=0)
        timer.join()
        assert solution.status is Status.INTERRUPTED
        assert solution.lower_bound <= solution.value


def press_during_the_solve(moment):
    # a busy machine may let this thread run before the solve has begun
    while signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        time.sleep(1e-5)
    time.sleep(moment)
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)


def test_a_second_interrupt_is_raised_at_once(monkeypatch):
    monkeypatch.setattr(sys.modules["solvers.low_rank"], "_start_factor", lambda *_: (press(), press()))
    with pytest.raises(KeyboardInterrupt):
        low_rank(graph(), rng=0)


def test_an_interrupt_is_heard_where_the_set_up_fails():
    def product(x):
        press()
        return np.full_like(x, np.nan)

    with pytest.raises(KeyboardInterrupt):
        low_rank(Elliptope(LinearOperator((5, 5), matvec=product, dtype=np.float64)), rng=0)


def test_a_handler_of_the_caller_s_is_left_alone():
    heard = []
    signal.signal(signal.SIGINT, lambda *_: heard.append(1))
    with HeldInterrupts() as interrupts:
        press()
    assert heard == [1]
    assert not interrupts.asked
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_other_threads_hold_nothing():
    seen = []

    def solve():
        with HeldInterrupts():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=solve)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]


def test_released_interrupts_are_raised_at_once():
    with HeldInterrupts() as interrupts, pytest.raises(KeyboardInterrupt), interrupts.released():
        press()
    assert not interrupts.asked


def test_a_solve_within_a_released_one_holds_interrupts_again():
    with HeldInterrupts() as outer:
        with outer.released():
            with HeldInterrupts() as inner:
                press()
                assert inner.asked
            with pytest.raises(KeyboardInterrupt):
                press()
        press()
        assert outer.asked
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_solve_within_a_held_one_leaves_the_interrupt_to_it():
    with HeldInterrupts() as outer:
        with HeldInterrupts() as inner:
            press()
        assert outer.asked
        assert not inner.asked
