"""Compiled products and sweeps against plain NumPy, in every layout that a factor can have."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import aslinearoperator

import solvers.methods.over_relaxation
from solvers import Elliptope, low_rank
from solvers.linalg.matvec import Matvec
from solvers.linalg.sphere import random_rows
from solvers.methods.over_relaxation import DELAY, OWED, OverRelaxation


def hollow_matrix(order, density, rng, scale=1.0):
    matrix = np.where(rng.random((order, order)) < density, scale * rng.standard_normal((order, order)), 0.0)
    matrix = np.triu(matrix, 1)
    return matrix + matrix.T


def plain_sweep(matrix, factor, beta):
    """The definition: past the minimiser of each row in turn, and what that gains."""
    factor = factor.copy()
    before = np.vdot(matrix @ factor, factor)
    for row in range(matrix.shape[0]):
        pull = matrix[row] @ factor
        length = np.linalg.norm(pull)
        if length > 0:
            moved = -(1.0 + beta) * pull / length - beta * factor[row]
            factor[row] = moved / np.linalg.norm(moved)
    return factor, before - np.vdot(matrix @ factor, factor)


@settings(max_examples=60)
@given(
    order=st.integers(1, 40),
    rank=st.integers(1, 50),
    density=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    exponent=st.integers(-8, 8),
    sparse=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_products_and_sweeps_are_those_of_the_definition(order, rank, density, exponent, sparse, seed):
    rng = np.random.default_rng(seed)
    matrix = hollow_matrix(order, density, rng, 10.0**exponent)
    products = Matvec(sp.csr_array(matrix) if sparse else matrix)
    factor = random_rows(order, rank, rng)
    size = np.abs(matrix).sum(axis=1).max(initial=0.0)
    np.testing.assert_allclose(products @ factor, matrix @ factor, atol=1e-13 * size, rtol=0)

    method = OverRelaxation(products)
    arranged, expected = products.arrange(factor), factor
    for number in range(3):
        expected, gain = plain_sweep(matrix, expected, number / (number + DELAY))
        step = method.advance(arranged, 1)
        assert step.decrease == pytest.approx(gain, rel=1e-9, abs=1e-11 * size * order)
    np.testing.assert_allclose(arranged[:, :rank], expected, atol=1e-8)
    assert not arranged[:, rank:].any()


def test_long_indices_are_indices_too():
    matrix = sp.csr_array(hollow_matrix(30, 0.3, np.random.default_rng(0)))
    long = sp.csr_array(
        (matrix.data, matrix.indices.astype(np.int64), matrix.indptr.astype(np.int64)), shape=matrix.shape
    )
    factor = random_rows(30, 9, np.random.default_rng(1))
    np.testing.assert_array_equal(Matvec(matrix) @ factor, Matvec(long) @ factor)


def test_an_operator_keeps_the_width_of_its_factor():
    matrix = hollow_matrix(12, 0.5, np.random.default_rng(0))
    factor = random_rows(12, 3, np.random.default_rng(1))
    products = Matvec(aslinearoperator(matrix))
    assert products.arrange(factor).shape == (12, 3)
    np.testing.assert_allclose(products @ factor, matrix @ factor, atol=1e-13)


def test_arranging_copies():
    matrix = hollow_matrix(12, 0.5, np.random.default_rng(0))
    for cost in (matrix, aslinearoperator(matrix)):
        factor = random_rows(12, 8, np.random.default_rng(1))
        kept = factor.copy()
        Matvec(cost).arrange(factor)[:] = 7.0
        np.testing.assert_array_equal(factor, kept)


def test_arranged_rows_begin_with_a_cache_line():
    products = Matvec(hollow_matrix(12, 0.5, np.random.default_rng(0)))
    assert products.arrange(random_rows(12, 5, np.random.default_rng(1))).ctypes.data % 64 == 0


def test_sweeps_that_only_pass_energy_around_are_damped():
    # a triangular lattice: near beta = 1 the error falls like 1/t, while plain sweeps converge linearly
    side = 20
    places = np.arange(side * side).reshape(side, side)
    neighbours = [np.roll(places, 1, 0), np.roll(places, 1, 1), np.roll(places, (1, 1), (0, 1))]
    ends = np.tile(places.ravel(), 3), np.concatenate([other.ravel() for other in neighbours])
    half = sp.coo_array((np.ones(3 * side**2), ends), shape=(side**2, side**2))
    cost = sp.csr_array(half + half.T)
    products = Matvec(cost)
    values = []
    for owed in ((), OWED):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(solvers.methods.over_relaxation, "OWED", owed)
            factor = products.arrange(random_rows(side**2, 24, np.random.default_rng(0)))
            method = OverRelaxation(products)
            while method.iterations < 2500:
                method.advance(factor, 10)
        assert (method.delay > DELAY) == bool(owed)
        values.append(float(np.vdot(products @ factor, factor)))
    optimum = low_rank(Elliptope(cost), tol=1e-8, rng=0)
    assert optimum.certified
    undamped, damped = ((value - optimum.value) / abs(optimum.value) for value in values)
    assert undamped > 1e-5
    assert damped < 0.05 * undamped
