"""The dimod sampler: dimod's own tests, certified samples, models there and back."""

import itertools
import unittest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

dimod = pytest.importorskip("dimod")
pytest.importorskip("dimod.testing")

from solvers import BinaryQuadratic, Elliptope, MaxCut  # noqa: E402
from vispa.interop.dimod import VispaSampler, to_bqm  # noqa: E402


@dimod.testing.load_sampler_bqm_tests(VispaSampler, max_num_variables=40)
class TestWithDimodsOwnModels(unittest.TestCase):
    """Populated by dimod."""


def test_the_sampler_has_dimods_interface():
    dimod.testing.assert_sampler_api(VispaSampler())


@pytest.mark.parametrize("composite", [dimod.TrackingComposite, dimod.TruncateComposite])
def test_dimods_composites_take_it(composite):
    inner = VispaSampler()
    sampler = composite(inner, 2) if composite is dimod.TruncateComposite else composite(inner)
    dimod.testing.assert_composite_api(sampler)
    found = sampler.sample_ising({"a": 1.0}, {("a", "b"): 2.0}, seed=0)
    assert found.first.energy == pytest.approx(-3.0)


def random_model(n: int, seed: int, vartype: str) -> "dimod.BinaryQuadraticModel":
    rng = np.random.default_rng(seed)
    linear = {f"x{i}": float(v) for i, v in enumerate(rng.integers(-5, 6, n))}
    quadratic = {
        (f"x{i}", f"x{j}"): float(rng.integers(-5, 6))
        for i, j in itertools.combinations(range(n), 2)
        if rng.random() < 0.7
    }
    return dimod.BinaryQuadraticModel(linear, quadratic, float(rng.standard_normal()), vartype)


@settings(max_examples=15)
@given(n=st.integers(1, 8), seed=st.integers(0, 2**31), vartype=st.sampled_from(["SPIN", "BINARY"]))
def test_samples_are_optimal_and_bounds_hold(n, seed, vartype):
    model = random_model(n, seed, vartype)
    optimum = dimod.ExactSolver().sample(model).first.energy
    found = VispaSampler().sample(model, num_reads=2, seed=seed, certificate="rigorous")
    dimod.testing.assert_response_energies(found, model)
    assert len(found) == 2
    assert found.vartype is model.vartype
    assert found.first.energy == pytest.approx(optimum, abs=1e-9)
    assert found.info["lower_bound"] <= optimum + 1e-9
    assert found.info["certificate"] == "rigorous"
    assert found.info["gap"] >= -1e-12
    assert {"status", "relaxation"} <= found.info.keys()


def test_the_same_seed_gives_the_same_samples():
    model = random_model(20, 1, "BINARY")
    one, two = (VispaSampler().sample(model, num_reads=3, seed=5) for _ in range(2))
    np.testing.assert_array_equal(one.record.sample, two.record.sample)


@settings(max_examples=30)
@given(n=st.integers(1, 7), seed=st.integers(0, 2**31), vartype=st.sampled_from(["SPIN", "BINARY"]))
def test_models_come_back_with_every_energy(n, seed, vartype):
    model = random_model(n, seed, vartype)
    problem = BinaryQuadratic.from_bqm(model)
    assert problem.labels == tuple(model.variables)
    signs = np.array(list(itertools.product((-1, 1), repeat=n)))
    points = signs if vartype == "SPIN" else (1 + signs) // 2
    energies = model.energies((points, list(problem.labels)))
    np.testing.assert_allclose(problem.evaluate(signs), energies, atol=1e-10)
    for back in (to_bqm(problem), to_bqm(problem, "BINARY")):
        values = back.energies(
            (signs if back.vartype is dimod.SPIN else (1 + signs) // 2, list(problem.labels))
        )
        np.testing.assert_allclose(values, energies, atol=1e-10)


def test_a_cut_becomes_minus_its_energy_and_other_things_are_refused():
    problem = MaxCut(np.array([[0, 2.0, 1], [2, 0, -3], [1, -3, 0]]))
    signs = np.array(list(itertools.product((-1, 1), repeat=3)))
    np.testing.assert_allclose(to_bqm(problem).energies((signs, [0, 1, 2])), -problem.evaluate(signs))
    with pytest.raises(TypeError, match="found Elliptope"):
        to_bqm(Elliptope(np.eye(2)))
    with pytest.raises(ValueError, match="vartype must be one of 'SPIN', 'BINARY'"):
        to_bqm(problem, "QUTRIT")
    with pytest.raises(TypeError, match="bqm must be a dimod BinaryQuadraticModel; found dict"):
        BinaryQuadratic.from_bqm({})
    with pytest.raises(ValueError, match="bqm must have variables"):
        BinaryQuadratic.from_bqm(dimod.BinaryQuadraticModel("SPIN"))


def test_what_is_no_model_is_sent_to_its_door():
    for found, words in (
        (np.eye(2), "found numpy ndarray. Use sample_qubo"),
        (dimod.ConstrainedQuadraticModel(), "cqm_to_bqm"),
    ):
        with pytest.raises(TypeError, match=words):
            VispaSampler().sample(found)
