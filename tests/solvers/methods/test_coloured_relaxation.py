"""Sweeps on several threads: the colouring, the definition, and results that do not know the number of threads."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from instances import gaussian_graph

import solvers.burer_monteiro.component_solver
import solvers.methods.coloured_relaxation
from solvers import MaxCut, low_rank
from solvers.linalg.matvec import Matvec
from solvers.linalg.sphere import random_rows
from solvers.methods.coloured_relaxation import ColouredRelaxation, few_colours
from solvers.methods.over_relaxation import DELAY


@pytest.fixture
def every_size_in_parallel(monkeypatch):
    """Colours for small problems too, in pieces of a few rows."""
    monkeypatch.setattr(solvers.burer_monteiro.component_solver, "PARALLEL_ORDER", 2)
    monkeypatch.setattr(solvers.methods.coloured_relaxation, "BLOCK_ROWS", 7)


@settings(max_examples=40)
@given(order=st.integers(1, 60), edges=st.integers(0, 150), seed=st.integers(0, 2**32 - 1))
def test_rows_that_meet_differ_in_colour(order, edges, seed):
    cost = gaussian_graph(order, edges, seed)
    colours = few_colours(Matvec(cost))
    left, right = cost.nonzero()
    assert not np.any(colours[left] == colours[right])
    assert colours.min() == 0
    assert colours.max() <= np.diff(cost.indptr).max(initial=0)


def test_a_clique_has_too_many_colours():
    clique = sp.csr_array(np.ones((100, 100)) - np.eye(100))
    assert few_colours(Matvec(clique)) is None


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_a_sweep_relaxes_every_row_once(workers, every_size_in_parallel):
    cost = gaussian_graph(50, 120, 0)
    products = Matvec(cost, workers)
    colours = few_colours(products)
    factor = products.arrange(random_rows(50, 6, np.random.default_rng(0)))
    expected = factor.copy()
    method = ColouredRelaxation(products, colours)
    before = np.vdot(cost @ factor, factor)
    step = method.advance(factor, 2)
    for number in range(2):
        beta = number / (number + DELAY)
        for row in np.argsort(colours, kind="stable"):
            pull = cost[[row]].toarray() @ expected
            if pull.any():
                moved = -(1 + beta) * pull / np.linalg.norm(pull) - beta * expected[row]
                expected[row] = moved / np.linalg.norm(moved)
    np.testing.assert_allclose(factor, expected, atol=1e-12)
    assert step.decrease == pytest.approx(before - np.vdot(cost @ factor, factor), rel=1e-10)


def test_threads_do_not_change_the_result(every_size_in_parallel):
    problem = MaxCut(abs(gaussian_graph(300, 700, 1)))
    one, two, three = (low_rank(problem, rng=0, workers=workers) for workers in (1, 2, 3))
    assert one.certified
    for other in (two, three):
        np.testing.assert_array_equal(other.factor, one.factor)
        assert (other.value, other.lower_bound) == (one.value, one.lower_bound)


def test_an_impossible_number_of_threads_is_refused():
    with pytest.raises(ValueError, match="workers"):
        low_rank(MaxCut([[0, 1], [1, 0]]), workers=0)
