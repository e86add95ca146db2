"""What a prompt shows of a result: what matters of it, on a line, however large it is."""

import numpy as np
import pytest
import torch

import vispa
from solvers import (
    BinaryQuadratic,
    branch_and_bound,
    low_rank,
    round_homogeneous,
    strengthen,
    tabu_search,
)
from solvers.torch_backend import solve_batch, solve_shared

N = 200


def quadratic():
    matrix = np.random.default_rng(0).integers(-3, 4, (N, N)).astype(float)
    return BinaryQuadratic(matrix + matrix.T)


def shared():
    return solve_shared(torch.eye(N), torch.ones(2, N))


def layer():
    rng = np.random.default_rng(0)
    return vispa.binary_layer(rng.standard_normal((2, N)), inputs=rng.standard_normal((300, N)))


SHOWN = {
    "Solution": (lambda: low_rank(quadratic(), rng=0), "status=<Status.CERTIFIED"),
    "SearchResult": (lambda: tabu_search(quadratic(), np.ones(N), max_iterations=9, rng=0), "walks=1"),
    "ProvedSolution": (lambda: branch_and_bound(quadratic(), max_seconds=1e-3), "status=<TreeEnd.TIME_LIMIT"),
    "Strengthened": (lambda: strengthen(quadratic(), max_seconds=1e-3), "of 200 variables>, lower_bound=-"),
    "Rounding": (lambda: round_homogeneous(low_rank(quadratic(), rng=0), samples=2, rng=0), "value=-"),
    "InferenceResult": (
        lambda: vispa.minimize(lambda points: points.sum(dim=1), N, max_iterations=2),
        "posterior=<SignGaussian of 200 weights, rank 0>",
    ),
    "BatchSolution": (lambda: solve_batch(torch.eye(N)[None]), "of 1 problems, 1 certified>"),
    "SharedSolution": (shared, "of 2 problems, 2 certified>"),
    "BinaryLayer": (layer, "of 2 rows of 200, relative error 0."),
}


@pytest.mark.parametrize("name", SHOWN)
def test_a_result_is_shown_without_its_arrays(name):
    make, part = SHOWN[name]
    shown = repr(make())
    assert name in shown
    assert part in shown
    assert len(shown) < 500
    assert "\n" not in shown
    assert "array(" not in shown
    assert "tensor(" not in shown
