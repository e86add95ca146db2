"""What a layer is fed, as rows: samples of a linear layer, patches of a convolution; a block for every group."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vispa.nn.conversion.layer_kinds import Site

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
# Entries of the patches that are held at once, 64 MB in double precision.
ENTRIES_AT_ONCE = 1 << 23
# Of the largest output: what single or half precision on the way may miss.
SAME = 1e-2


def has_rows(site: Site) -> bool:
    """Whether a layer's outputs are its weight's rows times rows of its inputs."""
    if isinstance(site.module, CONVOLUTIONS):
        return True
    # a weight of two axes in a layer that is called: Linear, and GPT-2's Conv1D, stored the other way round
    return site.is_called and site.weights == ("weight",) and not site.on_request and _is_matrix(site.module)


def _is_matrix(module: nn.Module) -> bool:
    weight = module.weight
    return isinstance(weight, Tensor) and weight.ndim == 2


def is_plain(site: Site) -> bool:
    """Whether a layer's forward is that of its kind, so that it puts out its weight times its inputs."""
    kind = site.kind.class_of(site.module)
    own = type(site.module)
    return all(getattr(own, name, None) is getattr(kind, name, None) for name in ("forward", "_conv_forward"))


def check_outputs(site: Site, inputs: Tensor, output: Any) -> None:
    """Refuse a layer that puts out something else than its weight times its inputs, plus its bias.

    Raises
    ------
    ValueError
        Naming the layer.
    """
    layer, layout = site.module, site.layout("weight")
    rows = next(input_rows(layer, inputs))
    weight = layout.rows(layer.get_parameter("weight").detach()).flatten(1).double()
    wanted = (rows @ weight.unflatten(0, (len(rows), -1)).mT).movedim(0, 1).flatten(1)
    if site.bias is not None:
        wanted = wanted + layer.get_parameter(site.bias).detach()
    found = None
    if isinstance(output, Tensor):
        if isinstance(layer, CONVOLUTIONS):
            output = output.movedim(1 if output.ndim == layer.weight.ndim else 0, -1)
        found = output.reshape(-1, output.shape[-1])[: len(wanted)].double()
    if found is None or found.shape != wanted.shape or not _near(found, wanted):
        raise ValueError(
            f"{site.label}: it is a {type(layer).__name__} that puts out something else than its weight times its "
            f"inputs, so that signs cannot be fitted to it; keep it real with keep=('first', 'last', {site.name!r})"
        )


def _near(found: Tensor, wanted: Tensor) -> bool:
    away = (found - wanted).abs()
    return not bool((away > SAME * wanted.abs().max()).any())


def group_count(site: Site) -> int:
    """Blocks of output channels that see different inputs."""
    groups = getattr(site.module, "groups", 1) if isinstance(site.module, CONVOLUTIONS) else 1
    return int(groups)


def input_rows(module: nn.Module, inputs: Tensor) -> Iterator[Tensor]:
    """Yield rows (groups, m, n) in float64, some samples at a time: a row of the weight times one is an output.

    A convolution's rows are its patches, padded as it pads: O(samples) of them are held at once.
    """
    if not isinstance(module, CONVOLUTIONS):
        yield inputs.reshape(1, -1, inputs.shape[-1]).double()
        return
    axes = len(module.kernel_size)
    samples = inputs if inputs.ndim == axes + 2 else inputs[None]
    expansion = 1
    for size, stride in zip(module.kernel_size, module.stride, strict=True):
        expansion *= max(size // stride, 1) * 2
    at_once = max(ENTRIES_AT_ONCE // (expansion * max(samples.shape[1:].numel(), 1)), 1)
    for some in samples.split(at_once):
        yield _patches(module, some)


def _patches(module: nn.Conv1d | nn.Conv2d | nn.Conv3d, samples: Tensor) -> Tensor:
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    padded = F.pad(samples, module._reversed_padding_repeated_twice, mode=mode).double()
    axes = len(module.kernel_size)
    for axis in range(axes):
        reach = (module.kernel_size[axis] - 1) * module.dilation[axis] + 1
        padded = padded.unfold(2 + axis, reach, module.stride[axis])[..., :: module.dilation[axis]]
    # (samples, channels, places..., kernel...) to (groups, samples and places, channels and kernel)
    places = tuple(range(2, 2 + axes))
    kernel = tuple(range(2 + axes, 2 + 2 * axes))
    rows = padded.unflatten(1, (module.groups, -1))
    order = (1, 0, *(axis + 1 for axis in places), 2, *(axis + 1 for axis in kernel))
    rows = rows.permute(order).flatten(3 + axes - 1)
    return rows.reshape(module.groups, -1, rows.shape[-1])


class Moments:
    """Second moments of what a layer is fed in the binary network, X, and in the float network, Y, and across.

    Parameters
    ----------
    groups, columns : int
    device : torch.device
    """

    def __init__(self, groups: int, columns: int, device: torch.device) -> None:
        def zeros(*shape: int) -> Tensor:
            return torch.zeros(groups, *shape, dtype=torch.float64, device=device)

        self.binary, self.crossed, self.real = (zeros(columns, columns) for _ in range(3))
        self.binary_sum, self.real_sum = zeros(columns), zeros(columns)
        self.samples = 0

    def add(self, binary: Tensor, real: Tensor) -> None:
        """Add rows (groups, m, n) of both networks, which belong together."""
        self.binary += binary.mT @ binary
        self.crossed += binary.mT @ real
        self.real += real.mT @ real
        self.binary_sum += binary.sum(dim=1)
        self.real_sum += real.sum(dim=1)
        self.samples += binary.shape[1]

    def centred(self) -> tuple[Tensor, Tensor, Tensor]:
        """X^T X, X^T Y and Y^T Y about the means, which a bias makes up for."""

        def without(moment: Tensor, left: Tensor, right: Tensor) -> Tensor:
            return moment - left[:, :, None] * right[:, None, :] / self.samples

        return (
            without(self.binary, self.binary_sum, self.binary_sum),
            without(self.crossed, self.binary_sum, self.real_sum),
            without(self.real, self.real_sum, self.real_sum),
        )
