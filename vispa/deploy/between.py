"""Real operations between layers, found in a traced model and run as one loop that gives torch's floats."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from vispa.deploy.bits import PackSigns
from vispa.deploy.calls import unsigned, words_for
from vispa.deploy.chains import activation_of, can_pool_bits, module_of, only_user
from vispa.deploy.epilogue import Epilogue, is_norm
from vispa.deploy.real_convolutions import RealConvolution, real_convolution
from vispa.deploy.torch_layers import pair
from vispa.networks.layers import PadChannels

__all__ = ["Between", "found_between"]

POOLS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d)
_NO_SIGNS = np.zeros(0, dtype=np.uint32)


@dataclass
class Between:
    """A run of operations on an image, of which only the last value is needed by others.

    Attributes
    ----------
    source : Node
        The value that it begins with.
    nodes : list of Node
        The operations in order.
    convolution, rectified, norm, activation, pool, padding
        Those that there are, in this order.
    """

    source: Node
    nodes: list[Node]
    convolution: RealConvolution | None = None
    rectified: bool = False
    norm: nn.Module | None = None
    activation: nn.Module | None = None
    pool: nn.MaxPool2d | nn.AvgPool2d | nn.AdaptiveAvgPool2d | None = None
    padding: PadChannels | None = None

    @property
    def last(self) -> Node:
        """The operation whose value others need."""
        return self.nodes[-1]

    def wants_signs(self, network: GraphModule) -> bool:
        """Whether the loop can write the signs of the last value, and they are packed somewhere."""
        if isinstance(self.pool, nn.AdaptiveAvgPool2d):
            return False
        modules = [module_of(network, user) for user in self.last.users]
        return any(isinstance(module, PackSigns) and not module.rows for module in modules)

    def fits(self, source: Any, last: Any) -> bool:
        """Whether the loop takes what the run begins with, and may write where torch's last value lies."""
        if not (_is_plain(last) and (_is_plain(source) or self._reads_any(source))) or _share(source, last):
            return False
        if self.convolution is not None and not self.convolution.pays(source, last):
            return False
        return not isinstance(self.pool, nn.AvgPool2d) or _are_whole(
            _window(self.pool), self._size(source), last
        )

    @property
    def adds_up(self) -> bool:
        """Whether the loop sums what torch sums too, so that the order matters."""
        return self.convolution is not None or isinstance(self.pool, nn.AdaptiveAvgPool2d)

    def _reads_any(self, source: Any) -> bool:
        """Whether images in another order are worth a copy."""
        return self.convolution is not None and isinstance(source, Tensor) and _is_image(source)

    def _size(self, source: Tensor) -> tuple[int, int]:
        """Height and width of what is pooled."""
        height, width = _image(source).shape[2:]
        return (height, width) if self.convolution is None else self.convolution.outputs(height, width)

    def loop(self, source: Tensor, outputs: Tensor, signs: Tensor | None) -> Callable[[Any], None]:
        """The function from floats like those of the source (`flat_of`) that fills outputs, and signs."""
        from vispa.deploy.kernels import between as kernels

        channels = outputs.shape[1] - (0 if self.padding is None else self.padding.extra)
        before = 0 if self.padding is None else self.padding.extra // 2
        layer = self.convolution
        each = channels if layer is None else layer.filled_up
        ones, bias = source.new_ones(channels), None if layer is None else layer.bias
        epilogue = Epilogue(ones, bias, self.norm, False, self.activation, self.rectified)
        numbers, steps = epilogue.numbers()
        filled = np.zeros((len(numbers), each), dtype=np.float32)
        filled[:, :channels] = numbers[:, :channels]
        # whole vectors and whole pixels
        repeated = np.tile(filled, math.lcm(each, kernels.STRIDE) // each)
        shape = (len(source), *self._size(source), channels)
        image = _image(outputs).permute(0, 2, 3, 1).numpy()
        flat, words = image.reshape(-1), _NO_SIGNS if signs is None else unsigned(signs).reshape(-1)
        if isinstance(self.pool, nn.AdaptiveAvgPool2d):
            return _filling(kernels.follow_and_average, shape, repeated, steps, flat)
        kind: int = kernels.NOTHING
        window: tuple[int, ...] = (1, 1, 1, 1, 0, 0)
        if self.pool is not None:
            kind = kernels.MAXIMUM if isinstance(self.pool, nn.MaxPool2d) else kernels.MEAN
            window = _window(self.pool)
        elif self.padding is not None or each != channels:
            kind = kernels.MAXIMUM
        rest = (shape, repeated, steps, kind, window, flat, image.shape[1:], before, words)
        if layer is None:
            return _filling(kernels.follow, *rest)
        return _filling(kernels.convolve_and_follow, *layer.arguments(source), *rest)

    def signs_for(self, outputs: Tensor) -> Tensor:
        """A tensor for the signs of the last value."""
        images, channels, height, width = outputs.shape
        return torch.empty((images, height, width, words_for(channels)), dtype=torch.int32, device="cpu")


def _filling(work: Callable[..., None], *arguments: Any) -> Callable[[Any], None]:
    return lambda values: work(values, *arguments)


def found_between(network: GraphModule) -> dict[Node, Between]:
    """Runs of real operations in a packed model, by their first ones; after a convolution also one without it."""
    found: dict[Node, Between] = {}
    taken: set[Node] = set()
    for node in network.graph.nodes:
        if node not in taken and node.op in ("call_module", "call_function"):
            run = _run_from(network, node)
            if run is not None:
                found[node] = run
                if run.convolution is None:
                    taken.update(run.nodes)
    return found


def _run_from(network: GraphModule, first: Node) -> Between | None:
    """The run that begins with an operation, if it is one that a loop can do."""
    if not first.args or not isinstance(first.args[0], Node):
        return None
    run = Between(first.args[0], [])
    node: Node | None = first
    while node is not None and _takes(run, network, node):
        run.nodes.append(node)
        node = only_user(node)
    return run if run.nodes else None


def _takes(run: Between, network: GraphModule, node: Node) -> bool:
    """Add an operation to a run where its place in the order is free."""
    module = module_of(network, node)
    activation = activation_of(network, node)
    if _changes_its_input(module):
        return False
    if not run.nodes and (convolution := real_convolution(network, node)) is not None:
        run.convolution = convolution
    elif (
        isinstance(module, PadChannels)
        and run.padding is None
        and not isinstance(run.pool, nn.AdaptiveAvgPool2d)
    ):
        run.padding = module
    elif run.padding is not None:
        return False
    elif isinstance(module, POOLS) and run.pool is None and _can_pool(run, module):
        run.pool = module
    elif run.pool is not None:
        return False
    elif isinstance(activation, nn.ReLU) and run.activation is None and _norm_follows(run, network, node):
        run.rectified = True
    elif activation is not None and not isinstance(activation, nn.Identity) and run.activation is None:
        run.activation = activation
    elif module is not None and is_norm(module) and _is_free_for_norm(run):
        run.norm = module
    else:
        return False
    return True


def _is_free_for_norm(run: Between) -> bool:
    return run.norm is None and run.activation is None


def _norm_follows(run: Between, network: GraphModule, node: Node) -> bool:
    user = only_user(node)
    module = None if user is None else module_of(network, user)
    if run.norm is not None or run.rectified or module is None:
        return False
    return is_norm(module) and not _changes_its_input(module)


def _changes_its_input(module: nn.Module | None) -> bool:
    return bool(getattr(module, "inplace", False))


def _can_pool(run: Between, pool: nn.Module) -> bool:
    """Whether the loop pools as torch does: maxima without indices, means of whole windows or whole images."""
    if isinstance(pool, nn.MaxPool2d):
        return can_pool_bits(pool)
    if isinstance(pool, nn.AvgPool2d):
        return pair(pool.padding) == (0, 0) and pool.divisor_override is None
    return run.convolution is None and pool.output_size in (1, (1, 1))


def _window(pool: nn.MaxPool2d | nn.AvgPool2d) -> tuple[int, ...]:
    stride = pool.kernel_size if pool.stride is None else pool.stride
    return (*pair(pool.kernel_size), *pair(stride), *pair(pool.padding))


def _are_whole(window: tuple[int, ...], size: tuple[int, int], last: Tensor) -> bool:
    """Whether no window goes beyond the image, as those of ceil_mode can."""
    return all((last.shape[2 + axis] - 1) * window[2 + axis] + window[axis] <= size[axis] for axis in (0, 1))


def _is_plain(value: Any) -> bool:
    """Whether a value is float32 images with their channels last, or rows, one after another."""
    if not isinstance(value, Tensor) or value.dtype != torch.float32 or min((1, *value.shape[1:])) == 0:
        return False
    if value.ndim == 2:
        return value.is_contiguous()
    return _is_image(value) and value.is_contiguous(memory_format=torch.channels_last)


def _is_image(value: Tensor) -> bool:
    return value.ndim == 4 and value.dtype == torch.float32 and min(value.shape[1:]) > 0


def _image(value: Tensor) -> Tensor:
    """Rows as images of one pixel."""
    return value if value.ndim == 4 else value[:, :, None, None]


def _share(one: Tensor, other: Tensor) -> bool:
    return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()
