"""What no function of `solvers` can use is refused in words that name the argument."""

import numpy as np
import pytest
import scipy.sparse as sp

from solvers import (
    BinaryQuadratic,
    Elliptope,
    Gram,
    MaxCut,
    branch_and_bound,
    brute_force,
    exact,
    low_rank,
    one_flip,
    read_problem,
    round_homogeneous,
    solve_many,
    strengthen,
    tabu_search,
)
from solvers.certificates.dual_bound import dual_bound, dual_vector
from solvers.certificates.rigorous import rigorous_bound
from solvers.testing.planted import planted_dense
from solvers.torch_backend import solve_batch
from vispa import SignGaussian, binary_layer

PROBLEM = BinaryQuadratic(np.eye(3))
SOLUTION = low_rank(PROBLEM, rng=0)
NONSENSE = (
    None, "a", -1, 0, 2.5, float("nan"), float("inf"), [], [[1]], np.array(["x"]), 1j, object(), True, {},
    np.zeros((2, 2)), sp.eye_array(2), 10**400, b"x", np.array(3), [None], [[np.nan]], lambda x: x,
)  # fmt: skip

DOORS = {
    "A": lambda v: BinaryQuadratic(v),
    "b": lambda v: BinaryQuadratic(np.eye(3), v),
    "constant": lambda v: BinaryQuadratic(np.eye(3), constant=v),
    "graph": lambda v: MaxCut(v),
    "cost": lambda v: Elliptope(v),
    "homogenised": lambda v: Elliptope(np.eye(3), homogenised=v),
    "maximised": lambda v: Elliptope(np.eye(3), maximised=v),
    "diagonal": lambda v: Elliptope(np.eye(3), diagonal=v),
    "X": lambda v: Gram(v),
    "weights": lambda v: Gram(np.eye(3), v),
    "target": lambda v: BinaryQuadratic.least_squares(np.eye(3), v),
    "signs": lambda v: PROBLEM.evaluate(v),
    "signs ": lambda v: one_flip(PROBLEM, v),
    "problem": lambda v: low_rank(v),
    "problem ": lambda v: exact(v),
    "problem  ": lambda v: brute_force(v),
    "problems": lambda v: [outcome.unwrap() for outcome in solve_many(v)],
    "rank": lambda v: low_rank(PROBLEM, rank=v),
    "tol": lambda v: low_rank(PROBLEM, tol=v),
    "start": lambda v: low_rank(PROBLEM, start=v),
    "certificate": lambda v: low_rank(PROBLEM, certificate=v),
    "max_iterations": lambda v: low_rank(PROBLEM, max_iterations=v),
    "max_seconds": lambda v: low_rank(PROBLEM, max_seconds=v),
    "callback": lambda v: low_rank(PROBLEM, callback=v),
    "rng": lambda v: low_rank(PROBLEM, rng=v),
    "executor": lambda v: solve_many([PROBLEM], executor=v),
    "triangle_inequalities": lambda v: exact(PROBLEM, solver="none", triangle_inequalities=v),
    "all_minimisers": lambda v: brute_force(PROBLEM, all_minimisers=v),
    "factor": lambda v: dual_vector(np.eye(3), v),
    "dual": lambda v: dual_bound(np.eye(3), v),
    "dual ": lambda v: rigorous_bound(np.eye(3), v),
    "smallest_eigenvalue": lambda v: rigorous_bound(np.eye(3), np.ones(3), smallest_eigenvalue=v),
    "solution": lambda v: round_homogeneous(v),
    "solution ": lambda v: tabu_search(PROBLEM, np.ones(3), max_iterations=1, solution=v),
    "linear": lambda v: planted_dense(5, 1, rng=0, linear=v),
    "Q": lambda v: BinaryQuadratic.from_qubo(v),
    "J": lambda v: BinaryQuadratic.from_ising(v),
    "h": lambda v: BinaryQuadratic.from_ising(np.zeros((3, 3)), v),
    "bqm": lambda v: BinaryQuadratic.from_bqm(v),
    "graph ": lambda v: MaxCut.from_networkx(v),
    "samples": lambda v: round_homogeneous(SOLUTION, samples=v),
    "callback ": lambda v: tabu_search(PROBLEM, np.ones(3), max_iterations=1, callback=v),
    "gap": lambda v: branch_and_bound(PROBLEM, gap=v),
    "largest_clique": lambda v: strengthen(PROBLEM, largest_clique=v),
    "kernel": lambda v: solve_batch(np.eye(3)[None], kernel=v),
    "max_iterations ": lambda v: solve_batch(np.eye(3)[None], max_iterations=v),
    "device": lambda v: low_rank(PROBLEM, device=v),
    "group": lambda v: binary_layer(np.ones((2, 4)), inputs=np.eye(4), group=v),
    "path": lambda v: read_problem(v),
    "width": lambda v: SignGaussian([0.1]).to_factor(width=v),
}


@pytest.mark.parametrize("door", DOORS)
def test_nonsense_is_refused_by_name_or_means_something(door):
    said = []
    for value in NONSENSE:
        try:
            DOORS[door](value)
        except (ValueError, TypeError, FileNotFoundError) as error:
            said.append(f"{door}={value!r}: {error}")
    words = (" must ", "rows must not", "empty matrix", "not both", "No such file")
    assert [text for text in said if not any(word in text for word in words)] == []
    assert len(said) >= 10


@pytest.mark.parametrize("path", [3, b"x", object(), True])
def test_a_checkpoint_is_a_path(path):
    with pytest.raises(TypeError, match="checkpoint must be a string or a path; found"):
        branch_and_bound(PROBLEM, checkpoint=path)


@pytest.mark.parametrize("form", [np.array, sp.csr_array], ids=["dense", "sparse"])
def test_asymmetry_is_measured_and_its_remedy_named(form):
    matrix = form(np.array([[0.0, 1.0], [1.25, 0.0]]))
    with pytest.raises(ValueError, match=r"up to 0.25. Pass symmetrise\(cost\)"):
        Elliptope(matrix)
