"""Packed convolutions: plain torch modules for evaluation, whose weights take one bit each."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from vispa.deploy import operators as _operators  # noqa: F401  defines torch.ops.vispa
from vispa.deploy.bits import check_channels
from vispa.deploy.epilogue import BIAS, FUSED, NORM, RECTIFY, Epilogue
from vispa.deploy.geometry import Window
from vispa.deploy.layout import checked_kernel, kernel_on, runs_here, signs_of, table_of, words_of
from vispa.deploy.thresholds import limits_of, turning_sums
from vispa.deploy.torch_layers import (
    bases_of,
    detached,
    one_padding_of,
    pair,
    sign,
    signs_and_scale,
    words_of_table,
    zero_padding,
)

__all__ = ["PackedConv1d", "PackedConv2d", "PackedLayer"]

OUTPUTS = ("floats", "bits", "both")
# Steps of an epilogue that come before its sum.
BEFORE_SUM = BIAS | NORM | FUSED | RECTIFY


class PackedLayer(nn.Module):
    """Signs, window and epilogue of a layer; the public classes say what their inputs look like."""

    words: Tensor
    bases: Tensor
    numbers: Tensor
    limits: Tensor
    flips: Tensor

    def __init__(
        self,
        negative: NDArray[np.bool_],
        window: Window,
        epilogue: Epilogue,
        *,
        outputs: str = "floats",
        kernel: str = "auto",
    ) -> None:
        super().__init__()
        self.channels, self.taps, self.inputs = negative.shape
        self.window, self.outputs = window, outputs
        # on other devices than a processor there is one kernel each
        self.kernel = self._of_processor = checked_kernel(kernel)
        if window.groups > 1 and (self.inputs % 32 or self.channels // window.groups % 32):
            raise ValueError(
                "groups must have multiples of 32 input and output channels to be packed; found "
                f"{self.inputs} and {self.channels // window.groups}"
            )
        words = words_of(negative, window.groups)
        self.register_buffer("words", table_of(words) if self.kernel == "table" else words)
        bases = bases_of(negative, window, words.shape[0] * 32)
        numbers, self.steps = epilogue.numbers()
        if outputs == "bits":
            turn = turning_sums(epilogue, self.taps * self.inputs)
            if turn is None or epilogue.residual:
                raise ValueError(
                    "outputs must be 'floats' or 'both': a sign here has no threshold of the sum"
                )
            limits, flips = limits_of(turn, bases)
            self.register_buffer("limits", torch.from_numpy(limits))
            self.register_buffer("flips", torch.from_numpy(flips.view(np.int32)))
        else:
            self.register_buffer("bases", torch.from_numpy(bases))
            self.register_buffer("numbers", torch.from_numpy(numbers))
        self._epilogue = epilogue
        self.eval()

    def _apply(self, *arguments: Any, **options: Any) -> Any:
        """Move what the layer consists of, and take the kernel of the device where it is then."""
        super()._apply(*arguments, **options)
        self._take_kernel()
        return self

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take a kernel that runs here, where the layer was made on another processor."""
        super().__setstate__(state)
        if not runs_here(self._of_processor):
            self._of_processor = "vector" if self._of_processor == "tile" else "portable"
            self._take_kernel()

    def _take_kernel(self) -> None:
        kernel = kernel_on(self.words.device, self._of_processor)
        if (kernel == "table") != (self.kernel == "table"):
            words = self._plain_words().cpu()
            self.words = (table_of(words) if kernel == "table" else words).to(self.words.device)
        self.kernel, self._epilogue = kernel, self._epilogue.to(self.words.device)

    def _plain_words(self) -> Tensor:
        """The weight in words of 32 signs, whatever the kernel has."""
        if self.kernel != "table":
            return self.words
        return words_of_table(self.words.cpu(), self.taps * -(-self.inputs // 32))

    def signs(self) -> Tensor:
        """The weight as floats of +1 and -1, (channels, inputs of a group, taps)."""
        negative = signs_of(self._plain_words().cpu(), self.channels, self.taps, self.inputs)
        signs = torch.from_numpy(np.ascontiguousarray(1.0 - 2.0 * negative.transpose(0, 2, 1)))
        return signs.float().to(self.words.device)

    def sums(self, bits: Tensor) -> Tensor:
        """The numbers of differing signs of every output, int32, before anything else happens to them."""
        counted: Tensor = torch.ops.vispa.packed_sums(
            bits, self.words, self.channels, self.window.flat(), self.kernel
        )
        return counted

    def _bits_of(self, inputs: Tensor, *, rows: bool) -> Tensor:
        """Bits of floats, whose number of channels must be the layer's, or bits that it can read."""
        if inputs.dtype != torch.int32:
            check_channels(inputs, self.inputs * self.window.groups, rows=rows)
            bits: Tensor = torch.ops.vispa.pack_signs(inputs, rows)
            return bits
        words = -(-self.inputs // 32) * self.window.groups
        if inputs.shape[-1] != words:
            raise ValueError(f"bits must be in {words} words a pixel; found shape {tuple(inputs.shape)}")
        return inputs

    def _activated(self, values: Tensor) -> Any:
        """What torch makes of values after the sum, and their signs where bits go out beside them."""
        values = values if self._epilogue.activation is None else self._epilogue.activation(values)
        return (values, torch.ops.vispa.pack_signs(values, False)) if self.outputs == "both" else values

    def _run(self, bits: Tensor, residual: Tensor | None, steps: int | None = None) -> Any:
        """The outputs; floats by some of the steps alone where these are given."""
        window = self.window.flat()
        if self.outputs == "bits":
            return torch.ops.vispa.packed_to_bits(
                bits, self.words, self.limits, self.flips, window, self.kernel
            )
        both = self.outputs == "both" and steps is None
        operator = torch.ops.vispa.packed_to_both if both else torch.ops.vispa.packed_to_floats
        return operator(
            bits,
            self.words,
            self.bases,
            self.numbers,
            self.steps if steps is None else steps,
            residual,
            self.channels,
            window,
            self.kernel,
        )

    def extra_repr(self) -> str:
        """Return the sizes."""
        window = self.window
        return (
            f"{self.inputs * window.groups}, {self.channels}, kernel_size={window.kernel}, stride={window.stride}, "
            f"groups={window.groups}, outputs={self.outputs}, kernel={self.kernel}"
        )


class PackedConv2d(PackedLayer):
    """A convolution of signs by signs, and what follows it, in packed bits.

    Equal to ``activation(norm(alpha * conv(sgn x, sgn w) + bias) + residual)`` as torch computes it in float32, bit
    for bit: the sums are integers, and the operations after them are torch's own, in torch's order.

    Parameters
    ----------
    layer : Conv2d
        Every output channel of its weight has one absolute value.
    one_padding : sequence of int, default ()
        Entries of +1 around the image, before the layer's own padding by zeros.
    rectified : bool, default False
        Whether ReLU comes before the normalisation.
    norm, activation : Module, optional
        BatchNorm2d by running statistics; Hardtanh, ReLU, ReLU6 or PReLU.
    residual : bool, default False
        Whether :meth:`forward` adds a second tensor before the activation.
    outputs : {"floats", "bits", "both"}
        What comes out: floats (images, channels, height, width), their signs as bits, or the pair.
    kernel : {"auto", "tile", "vector", "table", "portable"}
        Compiled loop: see :func:`vispa.pack`.

    Raises
    ------
    ValueError
        If the weight is not binary, not float32, or padded otherwise than by zeros; if a group has channels in
        other numbers than multiples of 32; or if bits are wanted where a sign has no threshold.

    Examples
    --------
    >>> import torch, vispa
    >>> layer = vispa.harden(vispa.binarize(torch.nn.Conv2d(8, 4, 3, padding=1), keep=()))
    >>> packed, inputs = PackedConv2d(layer), torch.randn(2, 8, 5, 5).sign()
    >>> torch.allclose(packed(inputs), layer(inputs), atol=1e-5)
    True
    """

    def __init__(
        self,
        layer: nn.Conv2d,
        *,
        one_padding: tuple[int, ...] = (),
        rectified: bool = False,
        norm: nn.Module | None = None,
        residual: bool = False,
        activation: nn.Module | None = None,
        outputs: str = "floats",
        kernel: str = "auto",
    ) -> None:
        negative, scale = signs_and_scale(layer)
        window = Window(
            pair(layer.kernel_size), pair(layer.stride), pair(layer.dilation), zero_padding(layer),
            one_padding_of(one_padding, 2), layer.groups,
        )  # fmt: skip
        epilogue = Epilogue(scale, detached(layer.bias), norm, residual, activation, rectified)
        super().__init__(negative, window, epilogue, outputs=outputs, kernel=kernel)

    def forward(self, inputs: Tensor, residual: Any = None) -> Any:
        """Return the outputs of floats, whose signs are taken, or of bits."""
        bits = self._bits_of(inputs, rows=False)
        if (residual is not None) != self._epilogue.residual:
            expected = "something to add" if self._epilogue.residual else "None"
            raise TypeError(f"residual must be {expected} in this layer; found {type(residual).__name__}")
        if residual is None or self.adds(bits, residual):
            return self._run(bits, residual)
        return self._activated(self._run(bits, None, self.steps & BEFORE_SUM) + residual)

    def adds(self, bits: Tensor, residual: Any) -> bool:
        """Return whether the loop can add something: float32, and of no more entries than the outputs."""
        if not isinstance(residual, Tensor) or residual.dtype != torch.float32 or residual.ndim > 4:
            return False
        sizes = (bits.shape[0], self.channels, *self.window.outputs(bits.shape[1], bits.shape[2]))
        pairs = zip(reversed(residual.shape), reversed(sizes), strict=False)
        return all(own == other or own == 1 for own, other in pairs)

    def reference(self, inputs: Tensor, residual: Tensor | None = None) -> Tensor:
        """Return what torch makes of floats in the same layer: the twin that tests compare with."""
        weight = self.signs().unflatten(2, self.window.kernel)
        above, below, left, right = self.window.ones
        signs = functional.pad(sign(inputs), (left, right, above, below), value=1.0)
        above, below, left, right = self.window.zeros
        signs = functional.pad(signs, (left, right, above, below))
        window = self.window
        sums = functional.conv2d(signs, weight, None, window.stride, 0, window.dilation, window.groups)
        return self._epilogue(sums, residual)


class PackedConv1d(PackedLayer):
    """A convolution over one axis, as :class:`PackedConv2d` over two."""

    def __init__(self, layer: nn.Conv1d, *, one_padding: tuple[int, ...] = (), **options: Any) -> None:
        negative, scale = signs_and_scale(layer)
        window = Window(
            (1, layer.kernel_size[0]), (1, layer.stride[0]), (1, layer.dilation[0]), zero_padding(layer),
            one_padding_of(one_padding, 1), layer.groups,
        )  # fmt: skip
        norm, activation = options.pop("norm", None), options.pop("activation", None)
        epilogue = Epilogue(scale, detached(layer.bias), norm, False, activation)
        super().__init__(negative, window, epilogue, **options)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return floats (images, channels, length) of floats, whose signs are taken."""
        if inputs.ndim != 3 or inputs.shape[1] != self.inputs * self.window.groups:
            expected = f"(images, {self.inputs * self.window.groups}, length)"
            raise ValueError(f"inputs must be {expected}; found shape {tuple(inputs.shape)}")
        outputs: Tensor = self._run(self._bits_of(inputs.unsqueeze(2), rows=False), None)
        return outputs.squeeze(2)

    def reference(self, inputs: Tensor) -> Tensor:
        """Return what torch makes of floats in the same layer."""
        window = self.window
        signs = functional.pad(sign(inputs), window.ones[2:], value=1.0)
        signs = functional.pad(signs, window.zeros[2:])
        sums = functional.conv1d(
            signs, self.signs(), None, window.stride[1], 0, window.dilation[1], window.groups
        )
        return self._epilogue(sums)
