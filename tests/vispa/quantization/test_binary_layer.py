"""A layer made binary: against enumeration and the rivals, with dead, collinear, huge and tiny inputs."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import vispa
from vispa.quantization.layer_problem import LayerProblem
from vispa.quantization.rivals import RIVALS
from vispa.quantization.scales import fit_scales, group_borders


def drawn_layer(seed, columns, kind):
    """Weights (3, n) and inputs (m, n) of one kind of difficulty."""
    rng = np.random.default_rng(seed)
    samples = int(rng.integers(1, 3 * columns + 1))
    inputs = np.maximum(rng.standard_normal((samples, columns)) + 0.3, 0.0)
    if kind == "dead":
        inputs[:, rng.random(columns) < 0.5] = 0.0
    elif kind == "collinear":
        inputs[:, rng.integers(columns)] = 2.0 * inputs[:, rng.integers(columns)]
        inputs[:, rng.integers(columns)] = -inputs[:, 0]
    elif kind == "huge":
        inputs *= 10.0 ** rng.integers(0, 60)
    elif kind == "tiny":
        inputs *= 10.0 ** -float(rng.integers(0, 60))
    elif kind == "graded":
        inputs *= 10.0 ** rng.uniform(-6, 0, columns)
    weights = rng.standard_normal((3, columns))
    weights[rng.random(weights.shape) < 0.1] = 0.0
    return weights, inputs


KINDS = ["plain", "dead", "collinear", "huge", "tiny", "graded"]


def all_signs(columns):
    return np.array(list(itertools.product([1.0, -1.0], repeat=columns)))


def least_error(weights, inputs, borders):
    """The least error of every row over all signs and all scales, by enumeration and least squares."""
    problem = LayerProblem.of(weights, inputs.T @ inputs)
    least = np.full(len(weights), np.inf)
    for signs in all_signs(weights.shape[1]):
        fitted = fit_scales(problem, np.tile(signs, (len(weights), 1)), borders)
        least = np.minimum(least, fitted.error)
    return least


@given(seed=st.integers(0, 10_000), columns=st.integers(1, 7), kind=st.sampled_from(KINDS))
def test_small_layers_reach_the_least_error(seed, columns, kind):
    weights, inputs = drawn_layer(seed, columns, kind)
    layer = vispa.binary_layer(weights, inputs=inputs, workers=1)
    least = least_error(weights, inputs, group_borders(columns, None))
    assert np.all(layer.error <= least * (1.0 + 1e-6) + 1e-12 * layer.energy)


@given(
    seed=st.integers(0, 10_000),
    columns=st.integers(2, 7),
    group=st.integers(1, 4),
    kind=st.sampled_from(KINDS),
)
def test_groups_reach_what_enumeration_finds_and_never_exceed_sgn(seed, columns, group, kind):
    weights, inputs = drawn_layer(seed, columns, kind)
    borders = group_borders(columns, group if group < columns else None)
    layer = vispa.binary_layer(weights, inputs=inputs, group=group, bounds=True, workers=1)
    problem = LayerProblem.of(weights, inputs.T @ inputs)
    rounding = 1e-12 * layer.energy
    assert layer.scales.shape == (3, len(borders) - 1)
    assert np.all(layer.scales >= 0.0)
    assert np.all(layer.error <= RIVALS["sgn"](problem, borders).error + rounding)
    least = least_error(weights, inputs, borders)
    assert np.all(layer.error >= least - rounding)
    # the groups are searched in turn: not always to the least, but near
    assert np.all(layer.error <= 1.5 * least + 0.02 * layer.energy)
    if len(borders) > 2:
        assert layer.joint_bound is None
    assert np.all(layer.scale_bound <= layer.error)


@pytest.mark.parametrize("size", [64, 128])
@pytest.mark.parametrize("group", [None, 32])
def test_trained_layers_lose_less_than_by_any_rival(shared_data, size, group):
    with np.load(shared_data / "layers" / f"digits_mlp_{size}.npz") as archive:
        weights, gram = archive["weights"][:24].astype(float), archive["gram"]
    problem, borders = LayerProblem.of(weights, gram.astype(float)), group_borders(size, group)
    layer = vispa.binary_layer(weights, gram=gram, group=group)
    for rival in RIVALS.values():
        error = rival(problem, borders).error
        assert layer.error.sum() <= 0.7 * error.sum()
        assert np.all(layer.error <= error * (1.0 + 1e-9))


def test_bounds_of_a_trained_layer_are_ordered(shared_data):
    with np.load(shared_data / "layers" / "digits_mlp_64.npz") as archive:
        layer = vispa.binary_layer(archive["weights"][:6], gram=archive["gram"], bounds=True, relaxations=2)
    assert np.all(layer.joint_bound > 0.0)
    # what bounds every scale bounds this one
    assert np.all(layer.joint_bound <= layer.scale_bound + 1e-3 * layer.error)
    assert np.all(layer.scale_bound < layer.error)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("exponent", [-300, -200, 200, 300])
def test_bounds_scale_with_the_inputs(exponent):
    weights, inputs = np.random.default_rng(4).standard_normal((2, 14, 10))
    unit = 2.0**exponent
    plain = vispa.binary_layer(weights, inputs=inputs, bounds=True, workers=1)
    scaled = vispa.binary_layer(weights, inputs=unit * inputs, bounds=True, workers=1)
    assert np.all(plain.joint_bound > 0.1 * plain.error)
    for name in ("error", "scale_bound", "joint_bound"):
        found = getattr(scaled, name) / unit / unit
        assert np.allclose(found, getattr(plain, name), rtol=1e-6, atol=0.0), name


def test_diagonal_grams_keep_the_signs_of_the_weights():
    weights, sizes = np.array([[0.5, -0.2, 0.1]]), np.array([1.0, 4.0, 9.0])
    layer = vispa.binary_layer(weights, gram=np.diag(sizes), bounds=True)
    assert layer.signs.tolist() == [[1, -1, 1]]
    assert layer.scales[0, 0] == pytest.approx((sizes * np.abs(weights[0])).sum() / sizes.sum())
    assert layer.joint_bound[0] == pytest.approx(layer.error[0], rel=1e-2)
    assert layer.scale_bound[0] == pytest.approx(layer.error[0], rel=1e-2)


def test_dead_inputs_leave_scales_to_the_others():
    layer = vispa.binary_layer([[3.0, 0.0]], inputs=[[0.0, 1.0]], bounds=True)
    assert (layer.scales[0, 0], layer.error[0], layer.scale_bound[0]) == (0.0, 0.0, 0.0)
    layer = vispa.binary_layer([[3.0, -1.0]], inputs=[[0.0, 0.0]])
    assert (layer.scales[0, 0], layer.error[0], layer.signs.tolist()) == (2.0, 0.0, [[1, -1]])


def test_inputs_may_stream_and_may_be_tensors():
    weights, inputs = drawn_layer(0, 20, "plain")
    whole = vispa.binary_layer(weights, inputs=inputs)
    pieces = vispa.binary_layer(weights, inputs=(inputs[i : i + 7] for i in range(0, len(inputs), 7)))
    assert np.array_equal(whole.signs, pieces.signs)
    listed = vispa.binary_layer(weights, inputs=[inputs[:7], inputs[7:]])
    assert np.array_equal(whole.signs, listed.signs)
    tensors = vispa.binary_layer(torch.tensor(weights), gram=torch.tensor(inputs.T @ inputs))
    assert np.array_equal(whole.signs, tensors.signs)


def test_the_result_depends_on_the_seed_alone():
    weights, inputs = np.random.default_rng(1).standard_normal((2, 40, 30))
    one = vispa.binary_layer(weights, inputs=inputs, workers=1, rng=3, relaxations=1)
    two = vispa.binary_layer(weights, inputs=inputs, workers=3, rng=3, relaxations=1)
    assert np.array_equal(one.weight, two.weight)
    assert one.start == two.start


def test_given_signs_are_never_made_worse():
    weights, inputs = drawn_layer(5, 12, "plain")
    best = vispa.binary_layer(weights, inputs=inputs, effort=4.0)
    again = vispa.binary_layer(weights, inputs=inputs, effort=1e-9, start=best.signs)
    assert np.all(again.error <= best.error * (1.0 + 1e-12))


def test_limits_leave_the_signs_of_the_weights():
    weights, inputs = np.random.default_rng(2).standard_normal((2, 64, 24))
    stopped = vispa.binary_layer(weights, inputs=inputs, max_seconds=1e-9, bounds=True)
    assert not stopped.finished
    problem = LayerProblem.of(weights, inputs.T @ inputs)
    sgn = RIVALS["sgn"](problem, group_borders(24, None))
    assert np.all(stopped.error <= sgn.error * (1 + 1e-12))

    def stop(done, total):
        assert 0 < done <= total == 64
        raise StopIteration

    part = vispa.binary_layer(weights, inputs=inputs, callback=stop, workers=1)
    assert not part.finished
    assert part.error.sum() < sgn.error.sum()
    whole = vispa.binary_layer(weights, inputs=inputs)
    assert whole.finished
    assert whole.error.sum() < part.error.sum()


def test_the_report_counts_every_bit():
    weights, inputs = drawn_layer(1, 16, "plain")
    layer = vispa.binary_layer(weights, inputs=inputs, group=8)
    assert layer.bits == 3 * 16 + 32 * 3 * 2
    report = layer.report()
    assert report["bits_a_weight"] == layer.bits / 48
    assert sum(report["starts"].values()) == 3


SQUARE = np.eye(3)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: vispa.binary_layer(SQUARE), ValueError, "inputs or gram must be given, and not both"),
        (lambda: vispa.binary_layer(SQUARE, inputs=SQUARE, gram=SQUARE), ValueError, "not both"),
        (lambda: vispa.binary_layer(SQUARE, gram=-SQUARE), ValueError, "gram must be positive semidefinite"),
        (
            lambda: vispa.binary_layer(SQUARE, gram=np.triu(np.ones((3, 3)))),
            ValueError,
            "gram must be symmetric",
        ),
        (lambda: vispa.binary_layer(SQUARE, gram=np.eye(4)), ValueError, r"gram must have shape \(3, 3\)"),
        (
            lambda: vispa.binary_layer(SQUARE, inputs=np.ones((5, 2))),
            ValueError,
            r"inputs must have shape \(m, 3\)",
        ),
        (lambda: vispa.binary_layer(SQUARE, inputs=np.nan * SQUARE), ValueError, "inputs must be finite"),
        (
            lambda: vispa.binary_layer(SQUARE, inputs=iter([])),
            ValueError,
            "inputs must hold at least one sample",
        ),
        (lambda: vispa.binary_layer(SQUARE, inputs=3.0), TypeError, "inputs must be a matrix or an iterable"),
        (
            lambda: vispa.binary_layer(np.full((3, 3), np.inf), inputs=SQUARE),
            ValueError,
            "weights must be finite",
        ),
        (lambda: vispa.binary_layer(np.ones((0, 3)), inputs=SQUARE), ValueError, "weights must not be empty"),
        (lambda: vispa.binary_layer(SQUARE, inputs=SQUARE, group=0), ValueError, "group must be at least 1"),
        (lambda: vispa.binary_layer(SQUARE, inputs=SQUARE, effort=0), ValueError, "effort must be positive"),
        (
            lambda: vispa.binary_layer(SQUARE, inputs=SQUARE, start=SQUARE),
            ValueError,
            r"start must hold \+1 and -1",
        ),
        (
            lambda: vispa.binary_layer(SQUARE, inputs=SQUARE, bounds=1),
            TypeError,
            "bounds must be True or False",
        ),
        (
            lambda: vispa.binary_layer(torch.ones(3, 3, device="meta"), inputs=SQUARE),
            ValueError,
            "weights must hold numbers; found a tensor on the meta device",
        ),
        (
            lambda: vispa.binary_layer(SQUARE, gram=torch.ones(3, 3, device="meta")),
            ValueError,
            "gram must hold numbers",
        ),
        (lambda: vispa.binary_layer(SQUARE, gram=np.nan * SQUARE), ValueError, "gram must be finite"),
        (lambda: vispa.binary_layer(SQUARE, gram=1j * SQUARE), TypeError, "gram must hold real numbers"),
        (lambda: vispa.binary_layer(SQUARE, gram=np.ones(3)), ValueError, r"gram must have 2 dimension"),
        (
            lambda: vispa.binary_layer(SQUARE, inputs=np.ones((0, 3))),
            ValueError,
            "inputs must hold at least one sample",
        ),
        (
            lambda: vispa.binary_layer(SQUARE, inputs=[SQUARE, np.ones((4, 2))]),
            ValueError,
            r"inputs must have shape \(m, 3\); found \(4, 2\)",
        ),
        (lambda: vispa.binary_layer(SQUARE, inputs=SQUARE, group=2.0), TypeError, "group must be an integer"),
    ],
)
def test_bad_input_is_refused_by_name(call, error, words):
    with pytest.raises(error, match=words):
        call()
