"""Small instances of the architectures that people bring, for tests of the contract with torch."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

import vispa


class ResidualBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        hidden = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(inputs)))))
        return F.relu(hidden + self.downsample(inputs))


def resnet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        ResidualBlock(4, 8, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 3),
    )


def vgg() -> nn.Module:
    """Pooling, a binary activation between binary layers, hidden linear layers, dropout."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 8, 3, padding=1),
        nn.MaxPool2d(2),  # of continuous values: ties would make gradients depend on the order of additions
        nn.BatchNorm2d(8),
        vispa.SignActivation("hard-tanh"),
        nn.Flatten(),
        nn.Linear(8 * 9, 16),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(16, 3),
    )


def perceptron() -> nn.Module:
    return nn.Sequential(
        nn.Linear(7, 16),
        nn.Tanh(),
        nn.Linear(16, 16),
        nn.Tanh(),
        nn.Linear(16, 16),
        nn.Tanh(),
        nn.Linear(16, 3),
    )


class VisionTransformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 3, stride=3)
        self.positions = nn.Parameter(0.1 * torch.randn(4, 8))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True, norm_first=True)
            for _ in range(1)
        )
        self.head = nn.Linear(8, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2) + self.positions
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(tokens.mean(1))


class Unrolled(nn.Module):
    """A gated cell over a sequence; one forward of this module is one sample of its weights."""

    def __init__(self, inputs: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.of_input = nn.Linear(inputs, 2 * size)
        self.of_state = nn.Linear(size, 2 * size, bias=False)

    def forward(self, sequence: torch.Tensor) -> torch.Tensor:
        state = sequence.new_zeros(sequence.shape[0], self.size)
        for step in sequence.unbind(1):
            gate, candidate = (self.of_input(step) + self.of_state(state)).chunk(2, dim=1)
            gate = torch.sigmoid(gate)
            state = gate * state + (1 - gate) * torch.tanh(candidate)
        return state


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(5, 6)
        self.cell = Unrolled(6, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, sequence: torch.Tensor) -> torch.Tensor:
        return self.head(self.cell(torch.tanh(self.encoder(sequence))))


def depthwise() -> nn.Module:
    """Depthwise and pointwise convolutions, dilated and reflected, and a transposed one."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.Conv2d(6, 6, 3, padding=2, dilation=2, groups=6, padding_mode="reflect"),
        nn.BatchNorm2d(6),
        nn.Hardtanh(),
        nn.Conv2d(6, 8, 1),
        nn.ReLU6(),
        nn.ConvTranspose2d(8, 4, 2, stride=2, groups=2),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 3),
    )


@dataclass(frozen=True)
class Architecture:
    """How to make a network, what it eats, and how it is binarized."""

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    options: dict[str, Any] = field(default_factory=dict)

    def plain(self) -> nn.Module:
        torch.manual_seed(0)
        return self.make()

    def binarized(self, **options: Any) -> nn.Module:
        model = self.plain()
        torch.manual_seed(1)
        return vispa.binarize(model, **{"rank": 2, "noise_ratio": 0.7} | self.options | options)

    def batch(self, seed: int = 2, size: int = 4) -> torch.Tensor:
        return torch.randn(size, *self.shape, generator=torch.Generator().manual_seed(seed))


ARCHITECTURES = {
    "resnet": Architecture(resnet, (3, 6, 6)),
    "vgg": Architecture(vgg, (3, 6, 6)),
    "perceptron": Architecture(perceptron, (7,)),
    "transformer": Architecture(VisionTransformer, (3, 6, 6)),
    "recurrent": Architecture(Recurrent, (2, 5), {"scopes": ("cell",)}),
    "depthwise": Architecture(depthwise, (3, 6, 6), {"covariance": "channel", "residual": True}),
}


def loss_of(outputs: torch.Tensor) -> torch.Tensor:
    """A loss with a gradient of full rank in the outputs."""
    targets = torch.arange(outputs.shape[0], device=outputs.device) % outputs.shape[1]
    return F.cross_entropy(outputs.float(), targets)


def gradients_under(seed: int, model: nn.Module, *batches: torch.Tensor) -> dict[str, torch.Tensor]:
    """Gradients of the summed loss, all forwards before the one backward."""
    model.zero_grad()
    torch.manual_seed(seed)
    sum(loss_of(model(batch)) for batch in batches).backward()
    return {name: values.grad.clone() for name, values in model.named_parameters() if values.grad is not None}


def largest_error(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> float:
    """Largest distance of any gradient from the expected one, relative to the norm of all."""
    assert found.keys() == expected.keys()
    scale = torch.stack([values.detach().norm() for values in expected.values()]).norm()
    return max(float((found[name] - expected[name]).detach().norm() / scale) for name in expected)
