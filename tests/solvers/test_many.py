"""Many problems over executors: threads, processes, Dask; what goes wrong stays in its place."""

import multiprocessing
import pickle
from concurrent.futures import CancelledError, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator

from solvers import BinaryQuadratic, Elliptope, Gram, MaxCut, Solution, Status, exact, low_rank, solve_many
from solvers.testing import assert_certified


def gaussian(n, seed):
    matrix = np.random.default_rng(seed).standard_normal((n, n))
    return matrix + matrix.T


PROBLEMS = [
    BinaryQuadratic(gaussian(30, 0), np.ones(30)),
    MaxCut(np.abs(gaussian(20, 1)) - np.diag(np.diag(np.abs(gaussian(20, 1))))),
    Elliptope(sp.csr_array(gaussian(12, 2)), diagonal=np.arange(1.0, 13.0)),
    BinaryQuadratic(Gram(np.random.default_rng(3).standard_normal((5, 40)), -np.ones(5))),
]


@contextmanager
def dask():
    distributed = pytest.importorskip("distributed", reason="dask.distributed is not installed")
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
    )
    with cluster, distributed.Client(cluster) as client:
        yield client.get_executor()


EXECUTORS = {
    "threads": lambda: ThreadPoolExecutor(2),
    "processes": lambda: ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")),
    "dask": dask,
}
UNPICKLABLE = Elliptope(LinearOperator((3, 3), matvec=lambda x: x, matmat=lambda x: x, dtype=float))


@pytest.mark.parametrize("name", EXECUTORS)
@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning", "ignore:.*:ResourceWarning")
def test_any_executor_gives_what_a_loop_gives(name):
    problems = [*PROBLEMS, UNPICKLABLE, "nonsense"]
    alone = solve_many(problems, rng=5)
    with EXECUTORS[name]() as executor:
        spread = solve_many(problems, executor=executor, rng=5)
    for index, (one, two) in enumerate(zip(alone[:4], spread[:4], strict=True)):
        assert one.index == two.index == index
        assert_certified(two.unwrap())
        assert two.solution.problem is PROBLEMS[index]
        assert two.solution.iterations == one.solution.iterations
        np.testing.assert_allclose(two.solution.factor, one.solution.factor, atol=1e-9)
    # Dask pickles functions too
    assert ("pickle" in str(spread[4].error).lower()) == (name == "processes")
    assert spread[-1].solution is None
    with pytest.raises(TypeError, match="problem must be a BinaryQuadratic"):
        spread[-1].unwrap()


def test_every_problem_has_a_seed_of_its_own_and_the_same_one_again():
    first, second = (solve_many([PROBLEMS[0]] * 3, rng=1) for _ in range(2))
    for one, two in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.solution.factor, two.solution.factor)
    assert not np.array_equal(first[0].solution.factor, first[1].solution.factor)
    # the first problems do not depend on how many follow
    np.testing.assert_array_equal(
        solve_many([PROBLEMS[0]], rng=1)[0].solution.factor, first[0].solution.factor
    )


def test_errors_stay_in_their_place():
    nan = LinearOperator((3, 3), matvec=lambda x: np.nan * x, matmat=lambda x: np.nan * x, dtype=float)
    problems = [PROBLEMS[2], Elliptope(nan), PROBLEMS[3]]
    with ThreadPoolExecutor(2) as pool:
        for outcomes in (solve_many(problems, rng=0), solve_many(problems, executor=pool, rng=0)):
            assert [outcome.solution is None for outcome in outcomes] == [False, True, False]
            assert isinstance(outcomes[1].error, ValueError)


def test_options_reach_the_solver():
    outcomes = solve_many(PROBLEMS, rng=0, tol=1e-3, certificate="rigorous", rank=3)
    assert {outcome.unwrap().certificate for outcome in outcomes} == {"rigorous"}
    assert all(outcome.solution.gap <= 1e-3 for outcome in outcomes)


class Slow(Executor):
    """Runs a task when it is asked for its result: a pool whose workers never become free."""

    def __init__(self):
        self.futures = []

    def submit(self, function, *arguments):
        self.futures.append(Future())
        return self.futures[-1]


def test_the_time_limit_gives_up_what_has_not_begun():
    outcomes = solve_many(PROBLEMS, executor=Slow(), max_seconds=0.05, rng=0)
    assert all(isinstance(outcome.error, TimeoutError) for outcome in outcomes)


def test_the_time_limit_returns_the_best_point_of_what_has():
    hard = Elliptope(gaussian(600, 4))
    outcomes = solve_many([hard] * 50, max_seconds=0.2, rng=0, tol=1e-9)
    assert outcomes[0].unwrap().value < 0
    assert isinstance(outcomes[-1].error, TimeoutError)
    assert "max_seconds" in str(outcomes[-1].error)


@pytest.mark.parametrize("pool", [None, ThreadPoolExecutor], ids=["alone", "threads"])
@pytest.mark.parametrize("error", [StopIteration, KeyboardInterrupt])
def test_the_callback_hears_of_each_and_can_stop(pool, error):
    heard = []

    def callback(outcome):
        heard.append(outcome.index)
        if len(heard) == 2:
            raise error

    executor = pool(1) if pool else None
    outcomes = solve_many(PROBLEMS * 10, executor=executor, callback=callback, rng=0)
    assert len(heard) == 2
    assert all(outcomes[index].solution is not None for index in heard)
    assert isinstance(outcomes[-1].error, CancelledError)
    if executor:
        executor.shutdown()


def test_an_interrupt_returns_what_there_is():
    """Once inside a solve, which returns its best point; the rest is given up."""

    class Interrupting(LinearOperator):
        calls = 0

        def __init__(self, matrix):
            super().__init__(np.dtype(float), matrix.shape)
            self.matrix = matrix

        def _matmat(self, x):
            Interrupting.calls += 1
            if Interrupting.calls == 40:
                raise KeyboardInterrupt
            return self.matrix @ x

        _matvec = _matmat

    problems = [PROBLEMS[2], Elliptope(Interrupting(gaussian(50, 6))), PROBLEMS[0]]
    outcomes = solve_many(problems, rng=0, tol=1e-14)
    assert outcomes[0].solution is not None
    assert outcomes[1].unwrap().status is Status.INTERRUPTED
    assert isinstance(outcomes[2].error, CancelledError)


def test_a_broken_pool_is_reported_in_every_place():
    with ThreadPoolExecutor(1) as pool:
        pass
    outcomes = solve_many(PROBLEMS, executor=pool)
    assert all("shutdown" in str(outcome.error) for outcome in outcomes)


def test_other_errors_of_the_callback_are_the_callers():
    executor = Slow()

    def callback(outcome):
        raise ZeroDivisionError

    with ThreadPoolExecutor(1) as pool, pytest.raises(ZeroDivisionError):
        solve_many(PROBLEMS, executor=pool, callback=callback, rng=0)
    assert not executor.futures


def test_no_problems_no_outcomes():
    assert solve_many([]) == []


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"executor": 3}, TypeError, "executor must have a method submit; found int"),
        ({"max_seconds": 0}, ValueError, "max_seconds must be positive"),
        ({"callback": 3}, TypeError, "callback must be callable"),
        ({"progress": "yes"}, TypeError, "progress must be True or False"),
        ({"rng": -1}, ValueError, "rng must be"),
        ({"tolerance": 1e-3}, TypeError, "no option 'tolerance'; those of low_rank are rank, tol"),
    ],
)
def test_bad_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        solve_many(PROBLEMS[:1], **arguments)


def test_one_problem_is_not_several():
    with pytest.raises(TypeError, match=r"Pass \[problem\], or use low_rank"):
        solve_many(PROBLEMS[0])


def test_the_bar_goes_to_standard_error(capsys):
    solve_many(PROBLEMS[2:], rng=0, progress=True)
    captured = capsys.readouterr()
    assert "problems/s" in captured.err
    assert captured.out == ""
    solve_many(PROBLEMS[2:], rng=0)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("solver", [low_rank, exact])
def test_solutions_can_be_pickled(solver):
    solution = solver(PROBLEMS[2])
    again = pickle.loads(pickle.dumps(solution))
    assert isinstance(again, Solution)
    assert_certified(again)
    assert again.report() == solution.report()


def test_what_goes_wrong_in_a_generator_of_problems_is_raised_as_it_is():
    def broken():
        yield MaxCut(np.ones((2, 2)))
        raise TypeError("the user's own")

    with pytest.raises(TypeError, match="the user's own"):
        solve_many(broken())
