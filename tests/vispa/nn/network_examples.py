"""A small network that the tests of the adapter share."""

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import vispa
from vispa.nn import binary_layers


class Network(nn.Module):
    """Two binary layers between a real first and last one; the binary part can be checkpointed."""

    def __init__(self, checkpointed: bool = False) -> None:
        super().__init__()
        self.first = nn.Linear(6, 16)
        self.one = nn.Linear(16, 16)
        self.two = nn.Linear(16, 16, bias=False)
        self.last = nn.Linear(16, 3)
        self.checkpointed = checkpointed

    def body(self, hidden: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.two(torch.tanh(self.one(hidden))))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        hidden = torch.tanh(self.first(inputs))
        hidden = (
            checkpoint(self.body, hidden, use_reentrant=False) if self.checkpointed else self.body(hidden)
        )
        return self.last(hidden)


def network(checkpointed: bool = False, **options) -> Network:
    torch.manual_seed(0)
    own = {"rank": 3, "noise_ratio": 0.7} if options.get("method", "vispa") == "vispa" else {}
    return vispa.binarize(Network(checkpointed), **own | options)


def batch(seed: int = 1) -> torch.Tensor:
    return torch.randn(5, 6, generator=torch.Generator().manual_seed(seed))


def gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: values.grad.clone() for name, values in model.named_parameters()}


def row_error(model: nn.Module) -> float:
    """Largest relative distance of a squared norm, of a channel's mean one or of a row's, from what is kept."""
    errors = []
    for found in binary_layers(model):
        weight, mean = found.weight, found.mean.detach()
        squares = mean.flatten(1).square() + weight.factor.detach().square().sum(1) / weight.scale
        if weight.projection == "channel":
            squares = squares.mean(1)
        errors.append(float((squares / weight.radius**2 - 1).abs().max()))
    return max(errors)
