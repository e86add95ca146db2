"""Signs and scales for whole layers."""

import numpy as np
import pytest
import torch
from instances import layer, seeded

from solvers import BinaryQuadratic, brute_force, tabu_search
from solvers.torch_backend import layer_signs
from solvers.torch_backend.shared.rounding import objective, one_flip_shared


@pytest.mark.parametrize("given_as", ["inputs", "gram"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_layer_s_signs_are_within_their_bounds_and_near_the_best(given_as, dtype):
    weights, inputs = layer(dtype=dtype)
    matrix = inputs.T @ inputs
    data = {"inputs": inputs} if given_as == "inputs" else {"gram": matrix}
    chosen = layer_signs(weights, **data, generator=seeded(0))
    assert chosen.signs.dtype is dtype
    assert (chosen.signs.abs() == 1).all()
    residual = (chosen.scale[:, None] * chosen.signs - weights).double() @ inputs.double().T
    torch.testing.assert_close(chosen.error, residual.square().sum(dim=1), rtol=1e-4, atol=1e-4)
    energy = (weights.double() @ inputs.double().T).square().sum(dim=1)
    torch.testing.assert_close(chosen.gap, (chosen.error - chosen.lower_bound) / energy, rtol=1e-4, atol=1e-6)
    for channel in range(len(weights)):
        scale = float(chosen.scale[channel])
        problem = BinaryQuadratic(
            scale**2 * matrix.double().numpy(),
            -2 * scale * (matrix.double() @ weights[channel].double()).numpy(),
            constant=float(energy[channel]),
        )
        best = brute_force(problem).value
        assert chosen.lower_bound[channel] <= best + 1e-5 * energy[channel]
        assert chosen.error[channel] == pytest.approx(best, rel=1e-4)


def test_fitted_scales_beat_the_signs_of_the_weights():
    weights, inputs = layer(channels=10, width=20, samples=12)
    chosen = layer_signs(weights, inputs=inputs, generator=seeded(0))
    kept = layer_signs(weights, inputs=inputs, rounds=1, generator=seeded(0))
    scale, naive = best_scale_of_signs(weights, inputs)
    torch.testing.assert_close(kept.scale, scale)
    assert (kept.error <= naive * (1 + 1e-12)).all()
    assert chosen.error.sum() < 0.9 * kept.error.sum()


def best_scale_of_signs(weights, inputs):
    """The best scale of the signs of the weights, either way round, and the error at it."""
    outputs, signs = inputs @ weights.mT, torch.where(weights >= 0, 1.0, -1.0).to(weights.dtype)
    images = inputs @ signs.mT
    squared, crossed = images.square().sum(dim=0), (images * outputs).sum(dim=0).abs()
    scale = torch.where(squared > 0, crossed / squared, 0.0)
    return scale, outputs.square().sum(dim=0) - scale * crossed


@pytest.mark.parametrize("seed", range(20))
def test_no_channel_is_worse_than_the_signs_of_its_weights(seed):
    rng = torch.Generator().manual_seed(seed)
    weights = torch.randn(3, 8, generator=rng, dtype=torch.float64) * 10.0 ** torch.randn(3, 8, generator=rng)
    inputs = torch.randn(6, 8, generator=rng, dtype=torch.float64)
    inputs[:, torch.rand(8, generator=rng) < 0.4] = 0.0
    inputs += 3.0 * torch.randn(6, 1, generator=rng) * (inputs != 0)
    chosen = layer_signs(weights, inputs=inputs, generator=seeded(seed))
    energy = (inputs @ weights.mT).square().sum(dim=0)
    assert (chosen.error <= best_scale_of_signs(weights, inputs)[1] + 1e-9 * energy).all()
    assert (chosen.error <= energy * (1 + 1e-12)).all()
    assert (chosen.lower_bound >= 0).all()
    assert (chosen.lower_bound <= chosen.error).all()
    assert (chosen.scale >= 0).all()


def test_weights_of_dead_inputs_cost_nothing():
    chosen = layer_signs(torch.tensor([[3.0, 0.0]]), inputs=torch.tensor([[0.0, 1.0]]), generator=seeded(0))
    assert (float(chosen.scale), float(chosen.error), float(chosen.lower_bound)) == (0.0, 0.0, 0.0)
    nothing = layer_signs(torch.ones(2, 3), inputs=torch.zeros(4, 3), generator=seeded(0))
    assert nothing.error.tolist() == [0.0, 0.0]


def test_what_is_no_gram_is_refused():
    weights = torch.randn(2, 6, generator=torch.Generator().manual_seed(0))
    basis = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(1))).Q
    for spectrum in ([-1.0] * 6, [-0.1, 1.0, 1.0, 1.0, 1.0, 1.0]):
        with pytest.raises(ValueError, match="positive semidefinite"):
            layer_signs(weights, gram=(basis * torch.tensor(spectrum)) @ basis.mT)
    singular = (basis * torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0, 1.0])) @ basis.mT
    assert (layer_signs(weights, gram=singular, generator=seeded(0)).error >= 0).all()


def test_a_channel_without_weights_is_exact():
    weights, inputs = layer()
    weights[1] = 0.0
    chosen = layer_signs(weights, inputs=inputs, generator=seeded(0))
    assert chosen.scale[1] == 0.0
    assert chosen.error[1] == 0.0
    assert chosen.gap[1] == 0.0


def test_no_flip_is_left_that_pays():
    weights, inputs = layer(width=15)
    matrix, linear = inputs.T @ inputs, (weights @ (inputs.T @ inputs)).mT
    signs = torch.where(torch.randn(15, 6, generator=seeded(1), dtype=torch.float64) >= 0, 1.0, -1.0).double()
    kept = signs.clone()
    found = one_flip_shared(matrix, linear, signs)
    assert torch.equal(signs, kept)
    value = objective(matrix, linear, found)
    assert (value <= objective(matrix, linear, signs)).all()
    for row in range(15):
        flipped = found.clone()
        flipped[row] *= -1
        assert (objective(matrix, linear, flipped) >= value - 1e-9).all()


def test_rounded_layers_are_as_good_as_tabu_search():
    weights, inputs = layer(channels=4, width=60, samples=40)
    chosen = layer_signs(weights, inputs=inputs, tol=1e-3, generator=seeded(0))
    matrix, target = inputs.T @ inputs, weights @ (inputs.T @ inputs)
    for channel in range(4):
        scale = float(chosen.scale[channel])
        problem = BinaryQuadratic(
            (scale**2 * matrix).numpy(),
            (-2 * scale * target[channel]).numpy(),
            constant=float(weights[channel] @ target[channel]),
        )
        assert (
            float(chosen.error[channel])
            <= 1.05 * tabu_search(problem, np.ones(60), max_iterations=3000, rng=0).value
        )
