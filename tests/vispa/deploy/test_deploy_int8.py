"""Torch's int8 of a network, which packed ones are timed beside, or why there is none."""

import sys

import pytest
import torch
from torch import nn

import vispa
from vispa.commands.deploy import _of_int8
from vispa.deploy.int8 import in_int8, is_int8
from vispa.deploy.timing import time_packed


class Branching(nn.Module):
    """What graphs cannot follow."""

    def __init__(self):
        super().__init__()
        self.signs, self.layer = vispa.SignActivation(), nn.Linear(8, 4)

    def forward(self, inputs):
        return self.layer(self.signs(inputs)) if inputs.sum() > 1e9 else self.layer(self.signs(-inputs))


def hardened(*layers):
    torch.manual_seed(0)
    return vispa.harden(vispa.binarize(nn.Sequential(*layers), rank=1, keep=())).eval()


def test_signs_become_relu_and_layers_bytes():
    signs = vispa.SignActivation(one_padding=1)
    model = hardened(nn.Conv2d(3, 8, 3), signs, nn.Conv2d(8, 8, 3), nn.Flatten(1), nn.Linear(8 * 36, 5))
    names = list(model.state_dict())
    inputs = torch.randn(4, 3, 8, 8)
    found = in_int8(model, inputs)
    modules = dict(found.named_modules())
    assert [is_int8(modules[name]) for name in ("0", "2", "4")] == [True] * 3
    assert not any(is_int8(module) for module in model.modules())
    assert list(model.state_dict()) == names
    # what it computes is the network with ReLU for signs, zeros where these pad, to the size of a byte's step
    relu = nn.Sequential(model[0], nn.ReLU(), nn.ZeroPad2d(1), model[2], model[3], model[4])
    with torch.no_grad():
        expected = relu(inputs)
        torch.testing.assert_close(found(inputs), expected, rtol=0, atol=0.05 * float(expected.abs().max()))


def test_a_network_without_int8_is_timed_and_says_why(monkeypatch):
    model = vispa.harden(vispa.binarize(Branching(), rank=1, keep=())).eval()
    with pytest.raises(ValueError, match="torch cannot quantise it: "):
        in_int8(model, torch.randn(2, 8))
    plain = hardened(vispa.SignActivation(), nn.Linear(40, 64))
    monkeypatch.setitem(sys.modules, "torch.ao.quantization", None)
    timing = time_packed(plain, vispa.pack(plain), torch.randn(2, 40), repeats=1)
    assert timing.int8 != timing.int8
    assert timing.layers[0].int8 != timing.layers[0].int8
    assert "this torch has no int8" in timing.why_no_int8
    assert _of_int8({"why_no_int8": timing.why_no_int8}) == f"int8: {timing.why_no_int8}"


def test_signs_after_a_normalisation_are_quantised_too():
    layers = [nn.Conv2d(3, 32, 3), vispa.SignActivation(), nn.Conv2d(32, 8, 3), nn.BatchNorm2d(8)]
    layers += [vispa.SignActivation(one_padding=1), nn.Conv2d(8, 4, 3)]
    model = vispa.harden(vispa.binarize(nn.Sequential(*layers), rank=1, keep=())).eval()
    assert in_int8(model, torch.randn(2, 3, 9, 9))(torch.randn(1, 3, 9, 9)).shape == (1, 4, 5, 5)
