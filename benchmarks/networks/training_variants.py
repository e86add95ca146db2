"""The networks whose steps are timed: float, STE, ours and the published layer, all from one definition."""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, cross_entropy, linear
from torch.optim import SGD

import vispa
from vispa.networks import named_network
from vispa.nn import binary_layers

PLAIN_STE = "STE weight"
SCALE = 100.0
SGD_OPTIONS = {"lr": 1e-3, "momentum": 0.9, "weight_decay": 1e-5}


@dataclass(frozen=True)
class Variant:
    """A name, the rank of its factors (0 without), and one whole training step."""

    name: str
    rank: int
    step: Callable[[], None]


def build_variants(
    network: str,
    *,
    batch: int,
    ranks: Sequence[int],
    device: torch.device,
    width: int | None = None,
    published: Path | None = None,
) -> list[Variant]:
    """Every variant with a network and an optimizer of its own, all on the same images."""
    paper = named_network(network)
    torch.manual_seed(0)
    images = torch.randn(batch, *paper.shape, device=device)
    labels = torch.randint(paper.classes, (batch,), device=device)

    def variant(name: str, rank: int, change: Callable[[nn.Module], object], **options: Any) -> Variant:
        torch.manual_seed(0)
        model = paper.build(width=width)
        change(model)
        model.to(device)
        optimizer = SGD(model.parameters(), **SGD_OPTIONS, **options)
        if any(isinstance(module, nn.utils.parametrize.ParametrizationList) for module in model.modules()):
            vispa.attach(optimizer, model)
        return Variant(name, rank, _step(model, optimizer, images, labels))

    def ours(**options: Any) -> Callable[[nn.Module], object]:
        return lambda model: vispa.binarize(model, keep=paper.keep, **options)

    found = [
        variant(PLAIN_STE, 0, lambda model: _replace(model, paper.keep, _plain_ste), fused=True),
        variant("float weight", 0, lambda model: None, fused=True),
        variant("vispa.binarize, method ste", 0, ours(method="ste"), fused=True),
    ]
    for rank in ranks:
        found.append(variant(f"vispa K = {rank}", rank, ours(rank=rank), fused=True))
        found.append(variant(f"vispa K = {rank}, default SGD", rank, ours(rank=rank)))
        if published is not None:
            replace = _published(published, rank)
            found.append(
                variant(
                    f"published K = {rank}, default SGD",
                    rank,
                    lambda model, new=replace: _replace(model, paper.keep, new),
                )
            )
    return found


def count_binary_weights(network: str, width: int | None = None) -> int:
    """Weights that the network's recipe makes binary."""
    paper = named_network(network)
    model = vispa.binarize(paper.build(width=width), method="ste", keep=paper.keep)
    return sum(found.mean.numel() for found in binary_layers(model))


def _step(model: nn.Module, optimizer: SGD, images: Tensor, labels: Tensor) -> Callable[[], None]:
    def step() -> None:
        cross_entropy(model(images), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


class _Sign(torch.autograd.Function):
    """The straight-through estimator, and nothing else."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor) -> Tensor:
        return torch.sign(weight)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


class _SteConv2d(nn.Conv2d):
    def forward(self, inputs: Tensor) -> Tensor:
        return conv2d(inputs, _Sign.apply(self.weight), self.bias, self.stride, self.padding)


class _SteLinear(nn.Linear):
    def forward(self, inputs: Tensor) -> Tensor:
        return linear(inputs, _Sign.apply(self.weight), self.bias)


def _plain_ste(layer: nn.Module) -> nn.Module:
    layer.__class__ = _SteConv2d if isinstance(layer, nn.Conv2d) else _SteLinear
    return layer


def _replace(model: nn.Module, keep: Sequence[str], new: Callable[[nn.Module], nn.Module]) -> None:
    """Put ``new(layer)`` in the place of every layer that `vispa.binarize` would make binary."""
    twin = vispa.binarize(_copy(model), method="ste", keep=keep)
    for found in binary_layers(twin):
        parent, _, name = found.name.rpartition(".")
        setattr(model.get_submodule(parent), name, new(model.get_submodule(found.name)))


def _copy(model: nn.Module) -> nn.Module:
    import copy

    return copy.deepcopy(model)


def _published(path: Path, rank: int) -> Callable[[nn.Module], nn.Module]:
    """Return what makes the published layer out of a convolution."""
    layer_class = _load(path).BinarizeConv2dSDP

    def layer(plain: nn.Module) -> nn.Module:
        if not isinstance(plain, nn.Conv2d):
            raise TypeError(f"the published layer stands for a Conv2d; found {type(plain).__name__}")
        return layer_class(
            rank,
            SCALE,
            plain.in_channels,
            plain.out_channels,
            kernel_size=plain.kernel_size[0],
            stride=plain.stride[0],
            padding=plain.padding[0],
            binarize_a=False,
        )

    return layer


def _load(path: Path) -> types.ModuleType:
    """Import the file; its training utilities, which the layer does not use, may be missing."""
    specification = importlib.util.spec_from_file_location("published_layer", path)
    if specification is None or specification.loader is None:
        raise ValueError(f"published must be a Python file; found {path}")
    module = importlib.util.module_from_spec(specification)
    sys.modules.setdefault("utils", types.SimpleNamespace(binarize=None))  # type: ignore[arg-type]
    specification.loader.exec_module(module)
    if not torch.cuda.is_available():
        # It calls .cuda() in its forward; there a tensor is where it is to be.
        torch.Tensor.cuda = lambda tensor, *arguments, **options: tensor  # type: ignore[method-assign]
    return module
