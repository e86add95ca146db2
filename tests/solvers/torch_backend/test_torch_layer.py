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
    plain = weights.abs().mean(dim=1)[:, None] * torch.sign(weights)
    kept = layer_signs(weights, inputs=inputs, rounds=1, generator=seeded(0))
    naive = ((plain - weights) @ inputs.T).square().sum(dim=1)
    assert (kept.error <= naive * (1 + 1e-12)).all()
    torch.testing.assert_close(kept.scale, weights.abs().mean(dim=1))
    assert chosen.error.sum() < 0.9 * kept.error.sum()


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
