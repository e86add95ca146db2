"""Vectors, weights and attributes by the doors at the side: tensors, huge integers, replaced parts."""

import copy
import pickle

import numpy as np
import pytest
import torch

from solvers import BinaryQuadratic, Elliptope, MaxCut, low_rank

DOORS_OF_VECTORS = {
    "target": lambda v: BinaryQuadratic.least_squares(np.eye(3), v).b,
    "b": lambda v: BinaryQuadratic(np.eye(3), v).b,
    "h": lambda v: BinaryQuadratic.from_ising({(0, 1): 1.0, (1, 2): 1.0}, v).b,
    "diagonal": lambda v: Elliptope(np.eye(3), diagonal=v).diagonal,
    "signs": lambda v: MaxCut(np.ones((3, 3))).evaluate(v),
    "X": lambda v: BinaryQuadratic.from_factor(v[None, :]).A.formed(),
    "start": lambda v: low_rank(MaxCut(np.ones((3, 3))), start=v[:, None], rng=0).factor,
}


@pytest.mark.parametrize("door", DOORS_OF_VECTORS.values(), ids=DOORS_OF_VECTORS)
def test_tensors_that_want_gradients_are_numbers_at_every_door(door):
    tensor = torch.ones(3, dtype=torch.float64, requires_grad=True)
    np.testing.assert_array_equal(door(tensor), door(np.ones(3)))
    np.testing.assert_array_equal(door(tensor.bfloat16()), door(np.ones(3)))
    np.testing.assert_array_equal(tensor.detach(), torch.ones(3))


@pytest.mark.parametrize("name", ["target", "b", "h", "diagonal", "signs"])
def test_sparse_and_meta_tensors_are_refused_where_vectors_are_wanted(name):
    door = DOORS_OF_VECTORS[name]
    for tensor in (torch.ones(3).to_sparse(), torch.ones(3, device="meta")):
        with pytest.raises((TypeError, ValueError), match=rf"{name} must (be dense|hold values|have 2 dim)"):
            door(tensor)


@pytest.mark.parametrize(
    "weight",
    [10**400, -(10**400), 2**53 + 1, float("inf"), "3", None, 1j, np.array(2.0)],
    ids=["huge", "-huge", "odd", "inf", "text", "none", "complex", "array"],
)
def test_weights_that_float64_does_not_hold_are_refused_with_their_edge(weight):
    networkx = pytest.importorskip("networkx")
    with pytest.raises((TypeError, ValueError), match=r"^graph must have .* at edge \('a', 'b'\)") as refusal:
        MaxCut.from_networkx(networkx.Graph([("a", "b", {"weight": weight})]))
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize("name", ["A", "b", "constant", "maximised", "n", "graph"])
def test_what_a_problem_is_made_of_cannot_be_replaced(name):
    """The relaxation is built once: a problem that changed afterwards would be bounded as it was."""
    problem = MaxCut(np.ones((2, 2))) if name == "graph" else BinaryQuadratic(np.ones((2, 2)), [1.0, 2.0])
    with pytest.raises(AttributeError, match=f"{name} .*make another problem"):
        setattr(problem, name, getattr(problem, name))
    problem.labels = ("a", "b")
    again = pickle.loads(pickle.dumps(problem))
    assert again.labels == copy.deepcopy(problem).labels == ("a", "b")
    assert low_rank(again, rng=0).value == low_rank(problem, rng=0).value
