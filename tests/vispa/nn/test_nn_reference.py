"""The published layer: forward and every gradient, against tensors recorded from its implementation."""

import numpy as np
import pytest
import torch
from torch import nn

import vispa
from vispa.nn import binary_layers
from vispa.nn.methods.vispa import LowRankWeight

# Folding alpha into the weight rounds each product differently: a few units in the last place of the largest.
ROUNDING = 2e-6


def published_layer(case: dict[str, np.ndarray]) -> nn.Sequential:
    out_channels, in_channels, size, _ = case["mean"].shape
    convolution = nn.Conv2d(
        in_channels,
        out_channels,
        size,
        stride=int(case["cfg_stride"]),
        padding=int(case["cfg_pad"]),
        bias="bias" in case,
    )
    layers = [vispa.SignActivation(), convolution] if case["cfg_ba"] else [convolution]
    return vispa.binarize(
        nn.Sequential(*layers),
        rank=int(case["cfg_K"]),
        scale=float(case["cfg_scale"]),
        keep=(),
        projection="published",
    )


def load(model: nn.Sequential, case: dict[str, np.ndarray]) -> LowRankWeight:
    (found,) = binary_layers(model)
    weight = found.weight
    assert isinstance(weight, LowRankWeight)
    factor = torch.from_numpy(case["factor"]).flatten(2).transpose(0, 1)
    with torch.no_grad():
        found.mean.copy_(torch.from_numpy(case["mean"]))
        weight.factor.copy_(factor)
        weight.alpha.copy_(torch.from_numpy(case["alpha"]).flatten())
        if "bias" in case:
            found.layer.parametrizations["bias"].original.copy_(torch.from_numpy(case["bias"]))
    return weight


@pytest.mark.shared_data
@pytest.mark.parametrize("number", range(4))
def test_forward_and_all_gradients_of_the_published_layer(shared_data, monkeypatch, number):
    with np.load(shared_data / "vispa_layer_reference.npz") as archive:
        prefix = f"case{number}/"
        case = {key.removeprefix(prefix): archive[key] for key in archive.files if key.startswith(prefix)}
    model = published_layer(case)
    weight = load(model, case)
    monkeypatch.setattr(weight, "draw", lambda: torch.from_numpy(case["noise"][0]))
    inputs = torch.from_numpy(case["input"]).requires_grad_()

    output = model.train()(inputs)
    output.backward(torch.from_numpy(case["grad_output"]))

    (found,) = binary_layers(model)
    measured = {
        "output": output,
        "grad_input": inputs.grad,
        "grad_mean": found.mean.grad,
        "grad_factor": weight.factor.grad.transpose(0, 1).reshape(case["factor"].shape),
        "grad_alpha": weight.alpha.grad.reshape(case["alpha"].shape),
    }
    if "bias" in case:
        measured["grad_bias"] = found.layer.parametrizations["bias"].original.grad
    assert {key for key in case if key.startswith("grad_")} - {"grad_output"} <= measured.keys()
    for name, value in measured.items():
        expected = case[name]
        error = np.abs(value.detach().numpy() - expected).max()
        assert error <= ROUNDING * np.abs(expected).max(), name


@pytest.mark.shared_data
def test_dividing_the_rows_by_their_norms_changes_no_output(shared_data, monkeypatch):
    """The published forward divides M and Z by the norm of the rows: a no-op on the signs."""
    with np.load(shared_data / "vispa_layer_reference.npz") as archive:
        case = {key.removeprefix("case1/"): archive[key] for key in archive.files if key.startswith("case1/")}
    model = published_layer(case)
    weight = load(model, case)
    monkeypatch.setattr(weight, "draw", lambda: torch.from_numpy(case["noise"][0]))
    weight.projection, weight.radius = "paper", 1.0
    vispa.nn.project(model)
    error = np.abs(model(torch.from_numpy(case["input"])).detach().numpy() - case["output"]).max()
    assert error <= ROUNDING * np.abs(case["output"]).max()
