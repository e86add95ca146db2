"""Objects that users hold already: graphs, models, tensors, sparse arrays of every kind."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers import BinaryQuadratic, MaxCut, low_rank
from solvers.torch_backend import solve_batch, solve_shared

networkx = pytest.importorskip("networkx")


def cube(n):
    return np.array(list(itertools.product((-1, 1), repeat=n)))


def test_a_graph_keeps_its_labels_and_the_solution_gives_them_back():
    graph = networkx.Graph()
    graph.add_edge("ann", "bob", weight=3.0)
    graph.add_edge("bob", ("c", 1))
    graph.add_edge("ann", "ann", weight=99.0)
    graph.add_node("alone")
    problem = MaxCut.from_networkx(graph)
    solution = low_rank(problem, rng=0)
    cut = solution.cut
    assert cut.weight == 4.0
    assert sorted(map(str, cut.first + cut.second)) == sorted(map(str, graph.nodes))
    assert networkx.cut_size(graph, set(cut.first), set(cut.second), weight="weight") == cut.weight
    assert MaxCut.from_networkx(graph, weight=None).evaluate([1, -1, 1, 1]) == 2.0


@settings(max_examples=40)
@given(n=st.integers(1, 9), probability=st.floats(0, 1), seed=st.integers(0, 2**31), several=st.booleans())
def test_cuts_are_networkx_own(n, probability, seed, several):
    rng = np.random.default_rng(seed)
    graph = networkx.MultiGraph() if several else networkx.Graph()
    graph.add_nodes_from(f"v{i}" for i in range(n))
    for i, j in itertools.combinations(range(n), 2):
        for _ in range(1 + several):
            if rng.random() < probability:
                graph.add_edge(f"v{i}", f"v{j}", weight=int(rng.integers(-5, 6)))
    problem = MaxCut.from_networkx(graph)
    signs = rng.choice([-1, 1], size=n)
    cut = problem.cut(signs)
    crossing = sum(
        data["weight"] for u, v, data in graph.edges(data=True) if (u in cut.first) != (v in cut.first)
    )
    assert cut.weight == crossing


def test_directed_graphs_and_foreign_objects_are_sent_to_the_right_door():
    dimod = pytest.importorskip("dimod")
    with pytest.raises(TypeError, match=r"undirected; found a directed one.*A \+ A\.T"):
        MaxCut.from_networkx(networkx.DiGraph([(0, 1)]))
    with pytest.raises(TypeError, match="must be a networkx graph; found list"):
        MaxCut.from_networkx([[0, 1], [1, 0]])
    with pytest.raises(ValueError, match="must have nodes"):
        MaxCut.from_networkx(networkx.Graph())
    with pytest.raises(TypeError, match=r"use MaxCut\.from_networkx\(graph\)".replace("use", "Use")):
        MaxCut(networkx.path_graph(3))
    with pytest.raises(TypeError, match=r"Use BinaryQuadratic\.from_bqm\(bqm\)"):
        BinaryQuadratic(dimod.BinaryQuadraticModel("SPIN"))
    with pytest.raises(TypeError, match="only a MaxCut has a cut"):
        _ = low_rank(BinaryQuadratic(np.ones((2, 2))), rng=0).cut


@pytest.mark.parametrize("one_sided", [np.triu, np.tril])
def test_a_triangle_of_a_graph_is_not_halved_silently(one_sided):
    """K_3 cuts 2; halved it would cut 1."""
    triangle = one_sided(np.ones((3, 3)), 1 if one_sided is np.triu else -1)
    for graph in (triangle, sp.csr_array(triangle)):
        with pytest.raises(ValueError, match=r"pass graph \+ graph\.T; symmetrise\(graph\) would halve"):
            MaxCut(graph)
        assert MaxCut(graph + graph.T).evaluate([1, 1, -1]) == 2.0
    with pytest.raises(ValueError, match=r"Pass symmetrise\(A\) to use \(A \+ A\^T\)/2"):
        BinaryQuadratic(triangle)
    tensor = torch.tensor(triangle, dtype=torch.float32)
    for solve in (lambda: solve_batch(tensor[None]), lambda: solve_shared(tensor, torch.zeros(1, 3))):
        with pytest.raises(ValueError, match=r"must be symmetric.*\(A \+ A\.mT\) / 2.*A \+ A\.mT of a graph"):
            solve()


def test_a_batch_may_hold_any_form_but_no_triangle():
    generator = torch.Generator().manual_seed(0)
    costs = torch.randn(5, 12, 12, generator=generator)
    assert solve_batch(costs, generator=generator).certified.all()
    costs[3] = costs[3].triu()
    with pytest.raises(ValueError, match="costs must be symmetric; found a triangle"):
        solve_batch(costs, generator=generator)


KINDS = ["csr", "csc", "coo", "lil", "dok", "dia", "bsr"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("matrix", [False, True])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int8, np.uint8, bool])
def test_sparse_arrays_of_every_kind(kind, matrix, dtype):
    dense = np.array([[0, 1, 1], [1, 0, 0], [1, 0, 0]], dtype=dtype)
    values = getattr(sp, f"{kind}_{'matrix' if matrix else 'array'}")(dense)
    np.testing.assert_array_equal(MaxCut(values).graph.toarray(), dense.astype(float))
    np.testing.assert_array_equal(BinaryQuadratic(values).A.toarray(), dense.astype(float))
    np.testing.assert_allclose(
        BinaryQuadratic.from_qubo(values).evaluate(cube(3)),
        np.einsum("ki,ij,kj->k", (1 + cube(3)) // 2, dense.astype(float), (1 + cube(3)) // 2),
    )


@pytest.mark.parametrize(
    "dtype",
    [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int8, torch.uint8, torch.bool],
)
@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
@pytest.mark.parametrize("layout", ["strided", "coo", "csr", "requires_grad"])
def test_tensors_of_every_kind(dtype, layout):
    dense = torch.tensor([[0, 1, 1], [1, 0, 0], [1, 0, 0]], dtype=dtype)
    if layout == "coo":
        dense = dense.to_sparse_coo()
    elif layout == "csr":
        dense = dense.to_sparse_coo().to_sparse_csr()
    elif layout == "requires_grad":
        if not dtype.is_floating_point:
            pytest.skip("only floating-point tensors carry gradients")
        dense.requires_grad_()
    expected = np.array([[0, 1, 1], [1, 0, 0], [1, 0, 0]], dtype=float)
    np.testing.assert_array_equal(MaxCut(dense).graph.toarray(), expected)
    quadratic = BinaryQuadratic(dense, b=torch.ones(3, dtype=dtype)).A
    np.testing.assert_array_equal(quadratic.toarray() if sp.issparse(quadratic) else quadratic, expected)


def test_repeated_entries_of_a_sparse_tensor_are_added_in_float64():
    indices = torch.tensor([[0, 0, 1, 1], [1, 1, 0, 0]])
    tensor = torch.sparse_coo_tensor(
        indices, torch.full((4,), 200, dtype=torch.uint8), (2, 2), check_invariants=True
    )
    assert MaxCut(tensor).evaluate([1, -1]) == 400.0


@settings(max_examples=40)
@given(n=st.integers(1, 6), seed=st.integers(0, 2**31), kind=st.sampled_from([np.triu, np.tril, "sparse"]))
def test_ising_energies_count_each_pair_once(n, seed, kind):
    rng = np.random.default_rng(seed)
    upper, h, constant = (
        np.triu(rng.standard_normal((n, n)), 1),
        rng.standard_normal(n),
        rng.standard_normal(),
    )
    given_as = {np.triu: upper, np.tril: upper.T}.get(kind, sp.csr_array(upper))
    problem = BinaryQuadratic.from_ising(given_as, h, constant)
    points = cube(n)
    energy = np.einsum("ki,ij,kj->k", points, upper, points) + points @ h + constant
    np.testing.assert_allclose(problem.evaluate(points), energy, atol=1e-12 * n * n)


def test_ising_couplings_that_can_be_read_in_two_ways_are_refused():
    with pytest.raises(ValueError, match=r"triangular.*np\.triu\(J, 1\).*BinaryQuadratic\(J, h\)"):
        BinaryQuadratic.from_ising([[0.0, 1.0], [1.0, 0.0]])
    with pytest.raises(ValueError, match="J must have a zero diagonal"):
        BinaryQuadratic.from_ising([[1.0, 1.0], [0.0, 0.0]])


@settings(max_examples=40)
@given(n=st.integers(1, 6), seed=st.integers(0, 2**31), sparse=st.booleans(), maximise=st.booleans())
def test_to_qubo_is_the_way_back(n, seed, sparse, maximise):
    rng = np.random.default_rng(seed)
    Q = rng.integers(-9, 10, (n, n)).astype(float)
    Q = Q + Q.T
    problem = BinaryQuadratic.from_qubo(sp.csr_array(Q) if sparse else Q, offset=3.0, maximise=maximise)
    back, offset = problem.to_qubo()
    np.testing.assert_array_equal(back.toarray() if sparse else back, Q)
    assert offset == 3.0


LABELS = st.one_of(st.integers(-3, 6), st.sampled_from("abcdef"))
FORM = st.dictionaries(st.tuples(LABELS, LABELS), st.integers(-5, 5).map(float), min_size=1, max_size=8)


@given(form=FORM, offset=st.integers(-3, 3), maximise=st.booleans())
def test_a_qubo_by_pairs_has_dimods_own_energies(form, offset, maximise):
    dimod = pytest.importorskip("dimod")
    problem = BinaryQuadratic.from_qubo(form, offset=float(offset), maximise=maximise)
    model = dimod.BinaryQuadraticModel("BINARY")
    for (first, second), value in form.items():
        model.add_linear(first, value) if first == second else model.add_quadratic(first, second, value)
    assert set(problem.labels) == set(model.variables)
    rng = np.random.default_rng(0)
    for _ in range(4):
        signs = rng.choice([-1, 1], problem.n)
        bits = dict(zip(problem.labels, (1 + signs) // 2, strict=True))
        expected = model.energy(bits) + offset
        assert float(problem.evaluate(signs)) == pytest.approx(-expected if maximise else expected)


@given(
    J=st.dictionaries(
        st.tuples(LABELS, LABELS).filter(lambda p: p[0] != p[1]), st.integers(-5, 5).map(float), max_size=6
    ),
    h=st.dictionaries(LABELS, st.integers(-5, 5).map(float), min_size=1, max_size=4),
)
def test_an_ising_model_by_pairs_has_dimods_own_energies(J, h):
    dimod = pytest.importorskip("dimod")
    problem = BinaryQuadratic.from_ising(J, h, constant=1.5)
    model = dimod.BinaryQuadraticModel.from_ising(h, {}, 1.5)
    for (first, second), value in J.items():
        model.add_quadratic(first, second, value)
    signs = np.random.default_rng(0).choice([-1, 1], problem.n)
    sample = dict(zip(problem.labels, signs, strict=True))
    assert float(problem.evaluate(signs)) == pytest.approx(model.energy(sample))


def test_integer_labels_are_sorted_and_others_stay_in_order():
    assert BinaryQuadratic.from_qubo({(2, 0): 1.0, (1, 1): 2.0}).labels == (0, 1, 2)
    assert BinaryQuadratic.from_qubo({("b", "a"): 1.0, ("c", "c"): 2.0}).labels == ("b", "a", "c")
    assert BinaryQuadratic.from_ising({(0, 1): 1.0}, [0.0, 0.0, 3.0]).labels == (0, 1, 2)


@pytest.mark.parametrize(
    ("form", "error", "words"),
    [
        ({}, ValueError, "Q must have entries; found an empty dict"),
        ({"ab": 1.0}, TypeError, "Q must have pairs of labels as keys; found 'ab'"),
        ({(0, 1, 2): 1.0}, TypeError, "keys; found \\(0, 1, 2\\)"),
        ({(0, 1): "x"}, TypeError, r"Q\[\(0, 1\)\] must be a real number; found str"),
        ({(0, 1): np.nan}, ValueError, r"Q\[\(0, 1\)\] must be finite"),
    ],
)
def test_pairs_that_do_not_fit_are_named(form, error, words):
    with pytest.raises(error, match=words):
        BinaryQuadratic.from_qubo(form)


def test_a_diagonal_in_an_ising_model_by_pairs_is_refused():
    with pytest.raises(ValueError, match="zero diagonal"):
        BinaryQuadratic.from_ising({("a", "a"): 1.0})


def wrong_objects():
    dimod = pytest.importorskip("dimod")
    cvxpy = pytest.importorskip("cvxpy")
    yield networkx.path_graph(3), r"found networkx Graph\. Use MaxCut\.from_networkx"
    yield dimod.BinaryQuadraticModel("SPIN"), r"Use BinaryQuadratic\.from_bqm"
    yield dimod.ConstrainedQuadraticModel(), r"cqm_to_bqm"
    yield "graph.rud", r"found str\. Use solvers\.read_problem"
    yield Path("graph.rud"), r"Use solvers\.read_problem"
    yield {(0, 1): 1.0}, r"Use BinaryQuadratic\.from_qubo"
    yield cvxpy.Problem(cvxpy.Minimize(0)), r"solver=vispa\.LowRankSolver\(\)"
    yield [MaxCut([[0, 1], [1, 0]])], r"solve_many"
    yield torch.nn.Linear(2, 2), r"vispa\.binarize"
    yield (lambda signs: signs.sum()), r"vispa\.minimize"
    yield np.eye(2), r"found numpy ndarray\. .*MaxCut\(C\) for the weights"


def test_what_is_no_problem_is_sent_to_its_own_door():
    for found, words in wrong_objects():
        with pytest.raises(TypeError, match=words):
            low_rank(found)


def test_objects_are_told_apart_at_every_door():
    dimod = pytest.importorskip("dimod")
    with pytest.raises(TypeError, match=r"Use BinaryQuadratic\.from_bqm"):
        MaxCut.from_networkx(dimod.BinaryQuadraticModel("SPIN"))
    with pytest.raises(TypeError, match=r"Use MaxCut\.from_networkx"):
        BinaryQuadratic.from_bqm(networkx.path_graph(2))
    with pytest.raises(TypeError, match="make_quadratic"):
        BinaryQuadratic.from_bqm(dimod.BinaryPolynomial({"abc": 1}, "SPIN"))
    with pytest.raises(ValueError, match=r"shape \(2, 3.*add_weighted_edges_from"):
        MaxCut([(0, 1, 1.0), (1, 2, 1.0)])
    with pytest.raises(ValueError, match="meta device"):
        MaxCut(torch.empty(2, 2, device="meta"))


def test_weights_of_a_graph_are_named_where_they_do_not_fit():
    graph = networkx.Graph()
    graph.add_edge("a", "b", weight="heavy")
    with pytest.raises(TypeError, match=r"found 'heavy' at edge \('a', 'b'\)"):
        MaxCut.from_networkx(graph)
    graph["a"]["b"]["weight"] = np.inf
    with pytest.raises(ValueError, match="found inf at edge"):
        MaxCut.from_networkx(graph)
    with pytest.raises(ValueError, match=r"found 'wieght', which no edge has \(they have: 'weight'\)"):
        MaxCut.from_networkx(graph, weight="wieght")
    assert MaxCut.from_networkx(graph, weight=None).graph.sum() == 2.0
