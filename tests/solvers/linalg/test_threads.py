"""Threads that share a solve: what they return must not depend on their number, and no failure may hang them."""

import time
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest
import scipy.sparse as sp

import solvers.linalg.lanczos
import solvers.linalg.threads
from solvers.certificates.multipliers import FactorRange
from solvers.linalg.lanczos import Krylov, start_vector
from solvers.linalg.matvec import Matvec
from solvers.linalg.sphere import random_rows
from solvers.linalg.threads import RowBlocks, lockstep


def cost(order, seed=0):
    half = sp.random_array((order, order), density=6 / order, rng=seed, format="csr")
    return sp.csr_array(half + half.T)


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_one_failure_ends_all(failing):
    def work(worker, barrier):
        barrier()
        if worker == failing:
            raise KeyError(worker)
        barrier()

    with pytest.raises(KeyError, match=str(failing)):
        lockstep(3, work)


@pytest.mark.parametrize(("rows", "width"), [(1, 3), (7, 1), (1000, 16), (5, 2_000_000)])
def test_pieces_cover_every_row_once(rows, width, monkeypatch):
    monkeypatch.setattr(solvers.linalg.threads, "BLOCK_ENTRIES", 100)
    for whole in (False, True):
        blocks = RowBlocks(rows, width, 2, whole=whole).map(lambda block: np.arange(rows)[block])
        np.testing.assert_array_equal(np.concatenate(blocks), np.arange(rows))
        assert not whole or len(blocks) == 1


@pytest.mark.parametrize("workers", [2, 3])
def test_multipliers_are_the_same_on_any_number_of_threads(workers, monkeypatch):
    monkeypatch.setattr(solvers.linalg.threads, "BLOCK_ENTRIES", 1000)
    matrix = cost(700)
    found = []
    for threads in (1, workers):
        products = Matvec(matrix, threads)
        factor = products.arrange(random_rows(700, 16, np.random.default_rng(0)))
        found.append(FactorRange(products, factor).corrected())
    one, several = found
    np.testing.assert_array_equal(one.dual, several.dual)
    np.testing.assert_array_equal(one.vector, several.vector)
    assert one.curvature == several.curvature


@pytest.mark.parametrize("workers", [2, 4])
def test_lanczos_is_the_same_on_any_number_of_threads(workers, monkeypatch):
    monkeypatch.setattr(solvers.linalg.lanczos, "BLOCK_ROWS", 128)
    matrix, order = cost(1000), 1000
    start, dual = start_vector(order, np.random.default_rng(1)), np.zeros(order)
    one, several = (Krylov(matrix, dual, start, threads) for threads in (1, workers))
    for steps in (7, 15):
        one.extend(steps)
        several.extend(steps)
    np.testing.assert_array_equal(one.diagonal, several.diagonal)
    np.testing.assert_array_equal(one.offdiagonal, several.offdiagonal)
    weights = np.linalg.eigh(
        np.diag(one.diagonal) + np.diag(one.offdiagonal[:-1], 1) + np.diag(one.offdiagonal[:-1], -1)
    )[1][:, 0]
    np.testing.assert_array_equal(one.ritz_vector(weights), several.ritz_vector(weights))


def test_a_product_that_fails_on_a_thread_is_heard_of(monkeypatch):
    monkeypatch.setattr(solvers.linalg.lanczos, "BLOCK_ROWS", 128)
    krylov = Krylov(cost(1000), np.zeros(1000), start_vector(1000, np.random.default_rng(1)), 2)

    def broken(*arguments):
        raise MemoryError("no room")

    krylov._half_steps.subtract = broken
    with pytest.raises(MemoryError, match="no room"):
        krylov.extend(5)


def test_the_recurrence_is_that_of_products():
    matrix, order = cost(300), 300
    start, dual = (
        start_vector(order, np.random.default_rng(2)),
        np.random.default_rng(3).standard_normal(order),
    )
    compiled, plain = Krylov(matrix, dual, start), Krylov(matrix.toarray(), dual, start)
    for krylov in (compiled, plain):
        krylov.extend(12)
        krylov.extend(8)
    np.testing.assert_allclose(compiled.diagonal, plain.diagonal, rtol=1e-8)
    basis = [start]
    for step in range(20):
        image = matrix @ basis[-1] - dual * basis[-1]
        for vector in basis:
            image -= (vector @ image) * vector
        assert compiled.offdiagonal[step] == pytest.approx(np.linalg.norm(image), rel=1e-6)
        basis.append(image / np.linalg.norm(image))


def test_an_interrupt_waits_for_every_thread(monkeypatch):
    finished = []

    def work(worker, barrier):
        barrier()
        time.sleep(0.2)
        finished.append(worker)

    def interrupted(self, timeout=None):
        raise KeyboardInterrupt

    monkeypatch.setattr(Future, "exception", interrupted)
    with pytest.raises(KeyboardInterrupt):
        lockstep(2, work)
    assert sorted(finished) == [0, 1]


def test_a_thread_that_cannot_start_keeps_none_waiting(monkeypatch):
    submit, submitted = ThreadPoolExecutor.submit, []

    def refuse_the_second(self, *arguments):
        submitted.append(arguments)
        if len(submitted) == 2:
            raise RuntimeError("can't start new thread")
        return submit(self, *arguments)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", refuse_the_second)
    with pytest.raises(RuntimeError, match="can't start"):
        lockstep(2, lambda worker, barrier: barrier())
