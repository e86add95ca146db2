"""Colours, order, bad input, and room for what is to come."""

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from instances import from_edges, random_graph, seeded, star, torus

from solvers.torch_backend import SparseCost, cut_cost, edge_cost, solve_sparse, sparse_cost
from solvers.torch_backend.sparse import memory as sparse_memory
from solvers.torch_backend.sparse.colouring import colour_rows, coloured

EDGE = torch.tensor([[0, 1], [1, 2]])


@settings(max_examples=30)
@given(st.integers(2, 60), st.integers(0, 300), st.integers(0, 2**31))
def test_the_order_of_the_sweep_keeps_the_cost_and_separates_the_colours(order, count, seed):
    rng = np.random.default_rng(seed)
    matrix = from_edges(order, *rng.integers(0, order, (2, count)), rng.standard_normal(count))
    layout = coloured(sparse_cost(matrix, dtype=torch.float64))
    rows, size = layout.rows.numpy(), layout.order
    arrays = (layout.values, layout.indices, layout.pointers)
    found = sp.csr_array(arrays, shape=(size, size)).toarray() * 2.0**layout.exponent
    assert sorted(rows) == list(range(order))
    assert np.array_equal(found, matrix.toarray()[np.ix_(rows[:size], rows[:size])])
    assert not matrix.toarray()[rows[size:]].any()
    ends = [0, *(block.last for block in layout.classes)]
    assert ends[:-1] == [block.first for block in layout.classes]
    assert ends[-1] == size
    for block in layout.classes:
        assert not found[block.first : block.last, block.first : block.last].any()


def test_colours_are_few_and_depend_on_nothing_but_the_graph():
    for matrix, most in ((random_graph(2000, 5, 0), 9), (torus(40, 0), 5), (star(500), 4)):
        pointers, indices = (torch.from_numpy(array) for array in (matrix.indptr, matrix.indices))
        colours = colour_rows(pointers, indices)
        assert int(colours.max()) < most
        assert torch.equal(colours, colour_rows(pointers, indices))


def csr(pointers, indices, values, **rest):
    return SparseCost(torch.tensor(pointers), torch.tensor(indices), torch.tensor(values), **rest)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: edge_cost(EDGE, torch.tensor([1, 2])), TypeError, "weights must be float32 or float64"),
        (lambda: edge_cost(EDGE, torch.tensor([1.0])), ValueError, "length 2; found 1"),
        (lambda: edge_cost(EDGE.float()), TypeError, "edges must be an int32 or int64 tensor"),
        (lambda: edge_cost(EDGE[0]), ValueError, "edges must have 2 dimension"),
        (lambda: edge_cost(EDGE.T.repeat(2, 1)), ValueError, r"shape \(2, m\)"),
        (lambda: edge_cost(EDGE, order=2), ValueError, r"0\.\.1; found 0\.\.2"),
        (lambda: edge_cost(EDGE[:, :0]), ValueError, "edges must not be empty"),
        (lambda: cut_cost(torch.tensor([[0, 4], [1, 4]])), ValueError, "self-loop at 4"),
        (lambda: edge_cost(torch.tensor([[0, 1], [1, 0]])), ValueError, "both orders"),
        (lambda: edge_cost(EDGE, torch.tensor([1.0, np.nan])), ValueError, "values must be finite"),
        (lambda: csr([0, 1, 1], [1], [1.0]), ValueError, "must be symmetric"),
        (lambda: csr([0, 1, 2], [1, 0], [1.0, 2.0]), ValueError, "must be symmetric"),
        (lambda: csr([0, 1, 2], [0, 1], [1.0, 2.0]), ValueError, "entry in row 0"),
        (lambda: csr([0, 1, 2], [1, 2], [1.0, 2.0]), ValueError, r"indices must lie in 0\.\.1"),
        (lambda: csr([0, 2, 1], [1, 0], [1.0, 1.0]), ValueError, "pointers must rise"),
        (lambda: csr([0], [1], [1.0]), ValueError, "must not be empty"),
        (lambda: csr([0, 1, 2], [1, 0], [1, 1]), TypeError, "values must be a float32 or float64"),
        (lambda: csr([0.0, 1, 2], [1, 0], [1.0, 1.0]), TypeError, "pointers must be an int32 or int64"),
        (lambda: csr([0, 1, 2], [1, 0], [1.0, 1.0], diagonal=torch.zeros(3)), ValueError, "diagonal"),
        (lambda: sparse_cost(np.eye(3)), TypeError, "found ndarray"),
        (lambda: sparse_cost(torch.eye(3)), TypeError, "layout torch.strided"),
        (lambda: sparse_cost(sp.csr_array((2, 3))), ValueError, "square"),
        (lambda: sparse_cost(sp.csr_array([[0, 1j], [1j, 0]])), TypeError, "real numbers"),
        (lambda: sparse_cost(sp.eye_array(2), dtype=torch.float16), TypeError, "float16"),
        (lambda: sparse_cost(sp.eye_array(2), device="nowhere"), ValueError, "device must be"),
    ],
)
def test_input_that_does_not_fit_is_refused_in_words(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_tensors_on_two_devices_are_refused():
    with pytest.raises(ValueError, match="indices must be on the device of values"):
        SparseCost(torch.tensor([0, 1, 2]), torch.tensor([1, 0], device="meta"), torch.ones(2))
    with pytest.raises(ValueError, match="weights must be on the device of edges"):
        edge_cost(EDGE, torch.ones(2, device="meta"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tol": 1e-6}, "tol must be at least 1e-05"),
        ({"tol": np.nan}, "tol must be finite"),
        ({"rank": 0}, "rank must be at least 1"),
        ({"rank": 4}, "at most 3"),
        ({"rank": 1, "start": torch.ones(3, 1)}, "rank or start"),
        ({"start": torch.ones(2, 1)}, r"start must have shape \(3, 1\)"),
        ({"start": torch.zeros(3, 1)}, "no zero row"),
        ({"start": torch.ones(3, 1).double()}, "dtype of cost.values"),
        ({"max_iterations": 0}, "max_iterations must be at least 1"),
        ({"max_seconds": -1.0}, "max_seconds must be positive"),
        ({"callback": 3}, "callback must be callable"),
        ({"generator": 3}, "generator must be"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_words(options, words):
    with pytest.raises((TypeError, ValueError), match=words):
        solve_sparse(edge_cost(EDGE), **options)


def test_no_problem_is_refused_in_words():
    with pytest.raises(TypeError, match="cost must be a SparseCost; found ndarray"):
        solve_sparse(np.eye(3))


def test_nothing_of_the_caller_changes():
    matrix = random_graph(300, 4, 0)
    cost = sparse_cost(matrix)
    start = torch.randn(300, 8, generator=seeded(0))
    copies = [tensor.clone() for tensor in (cost.pointers, cost.indices, cost.values, start)]
    state = torch.random.get_rng_state()
    solve_sparse(cost, start=start, tol=1e-3)
    for tensor, copy in zip((cost.pointers, cost.indices, cost.values, start), copies, strict=True):
        assert torch.equal(tensor, copy)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_what_cannot_fit_is_refused_before_it_is_tried(monkeypatch):
    cost = sparse_cost(random_graph(1000, 5, 0))
    needed = sparse_memory.bytes_needed(cost, 16)
    monkeypatch.setattr(sparse_memory, "free_bytes", lambda device: needed - 1)
    with pytest.raises(MemoryError, match=r"GiB are needed beside the cost, and cpu has .* lower rank"):
        solve_sparse(cost, rank=16)
    assert solve_sparse(cost, rank=8, max_iterations=1).iterations == 1


def test_a_factor_that_cannot_be_widened_ends_the_solve_with_a_valid_bound(monkeypatch):
    def no_room(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("solvers.torch_backend.sparse.sparse_solver.widened", no_room)
    solution = solve_sparse(sparse_cost(random_graph(500, 5, 4)), rank=2, tol=1e-4, generator=seeded(0))
    assert not solution.certified
    assert solution.rank == 2
    assert solution.lower_bound < solution.value < 0.5 * solution.lower_bound
