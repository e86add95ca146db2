"""Networks drawn at random, their numbers too, compute what their twins compute."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import vispa
from tests.vispa.deploy.kernels_here import KERNELS_HERE
from tests.vispa.deploy.twins import twin
from vispa.networks.layers import Residual

CHANNELS = (1, 5, 31, 32, 33, 64, 70)
# Numbers of a normalisation, a slope or a bias that are rarely met.
EXTREMES = (0.0, -0.0, 1e-38, -1e-38, 3e-45, 1e10, -1e10, 1e-20)
ACTIVATIONS = (
    nn.ReLU, nn.Hardtanh, lambda: nn.Hardtanh(-0.3, 2.0), lambda: nn.Hardtanh(0.1, 0.5), nn.ReLU6, nn.PReLU,
    nn.Identity, lambda: nn.LeakyReLU(0.1), lambda: nn.ReLU(inplace=True),
)  # fmt: skip
POOLS = (
    lambda: nn.MaxPool2d(2), lambda: nn.MaxPool2d(3, 2, 1), lambda: nn.MaxPool2d(3, 1, 1, ceil_mode=True),
    lambda: nn.AvgPool2d(2, 1), lambda: nn.MaxPool2d((1, 2), (1, 2)),
)  # fmt: skip


class Drawing:
    """Layers of images or rows by one generator of Python's."""

    def __init__(self, seed):
        self.draw = random.Random(seed)
        self.image = self.draw.random() < 0.7

    def layer(self, inputs, outputs):
        bias = self.draw.random() < 0.5
        if not self.image:
            return nn.Linear(inputs, outputs, bias=bias)
        groups = 2 if inputs == outputs == 64 and self.draw.random() < 0.5 else 1
        size, padding = self.draw.choice([(1, 0), (3, 1), (3, 2), ((1, 3), 1)])
        stride, dilation = self.draw.choice([(1, 1), (2, 1), (1, 2)])
        return nn.Conv2d(inputs, outputs, size, stride, padding, dilation, groups, bias=bias)

    def same_size(self, channels):
        layer = nn.Conv2d(channels, channels, 3, padding=1) if self.image else nn.Linear(channels, channels)
        return [vispa.SignActivation(), layer, *self.norms(channels)]

    def norms(self, channels):
        kind = nn.BatchNorm2d if self.image else nn.BatchNorm1d
        return [kind(channels, affine=self.draw.random() < 0.8)] if self.draw.random() < 0.6 else []

    def between(self, channels):
        found = []
        for _ in range(self.draw.randrange(3)):
            kind = self.draw.random()
            if kind < 0.4:
                found += self.norms(channels)
            elif kind < 0.8 or not self.image:
                found.append(self.draw.choice(ACTIVATIONS)())
            else:
                found.append(self.draw.choice(POOLS)())
        return found

    def signs(self):
        padded = self.image and self.draw.random() < 0.3
        pooled = [nn.MaxPool2d(3, 1, 1)] if self.image and self.draw.random() < 0.2 else []
        return [vispa.SignActivation(one_padding=[self.draw.randrange(2), 2] if padded else 0), *pooled]

    def network(self):
        channels = self.draw.choice(CHANNELS)
        found = [self.layer(3, channels), *self.between(channels)]
        for _ in range(self.draw.randrange(1, 4)):
            if self.draw.random() < 0.4:
                branch = nn.Sequential(*self.same_size(channels))
                found.append(Residual(branch, nn.Identity(), self.draw.choice(ACTIVATIONS)()))
            else:
                outputs = self.draw.choice(CHANNELS)
                found += [*self.signs(), self.layer(channels, outputs), *self.between(outputs)]
                channels = outputs
        return nn.Sequential(*found)

    @torch.no_grad()
    def numbers(self, model):
        """Statistics, factors and slopes of both signs, some of them extreme."""
        extreme = 0.2 if self.draw.random() < 0.5 else 0.0
        for module in model.modules():
            if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
                self.fill(module.running_mean, extreme)
                self.fill(module.running_var, extreme).abs_()
            if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.PReLU)):
                for values in module.parameters():
                    self.fill(values, extreme)

    def fill(self, values, extreme):
        values.normal_()
        for entry in range(len(values)):
            if self.draw.random() < extreme:
                values[entry] = self.draw.choice(EXTREMES)
        return values


@pytest.mark.parametrize("kernel", KERNELS_HERE)
@settings(max_examples=15)
@given(seed=st.integers(0, 10**9))
def test_networks_compute_what_their_twins_compute(kernel, seed):
    torch.manual_seed(seed)
    drawing = Drawing(seed)
    model = drawing.network()
    drawing.numbers(model)
    if not any(isinstance(module, vispa.SignActivation) for module in model.modules()):
        return
    model = vispa.harden(vispa.binarize(model.eval(), rank=1, start="fresh", keep=("first",))).eval()
    packed = vispa.pack(model, kernel=kernel)
    expected = twin(model, {record.name for record in vispa.packing(packed) if record.packed})
    shapes = [(2, 3, 9, 10), (1, 3, 12, 9), (0, 3, 9, 10)] if drawing.image else [(4, 3), (1, 3), (0, 3)]
    # twice, as the first call of a size prepares the others
    for shape in shapes * 2:
        inputs = torch.randn(shape)
        with torch.no_grad():
            try:
                wanted = expected(inputs.clone())
            except RuntimeError:  # an image smaller than a window
                continue
            found = packed(inputs.clone())
        assert found.shape == wanted.shape
        assert torch.equal(found.nan_to_num(), wanted.nan_to_num())
