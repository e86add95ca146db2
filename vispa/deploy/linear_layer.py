"""The packed linear layer: rows of signs by signs, one bit a weight."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vispa.deploy.epilogue import Epilogue
from vispa.deploy.geometry import Window
from vispa.deploy.layers import PackedLayer
from vispa.deploy.layout import checked_kernel
from vispa.deploy.torch_layers import detached, sign, signs_and_scale

__all__ = ["PackedLinear"]


class PackedLinear(PackedLayer):
    """A linear layer of signs by signs, and what follows it: rows of floats or bits to rows of floats or bits."""

    def __init__(
        self,
        layer: nn.Linear,
        *,
        norm: nn.Module | None = None,
        activation: nn.Module | None = None,
        outputs: str = "floats",
        kernel: str = "auto",
    ) -> None:
        negative, scale = signs_and_scale(layer)
        epilogue = Epilogue(scale, detached(layer.bias), norm, False, activation)
        # tables are shared by eight rows, of which there is often one
        words = "portable" if checked_kernel(kernel) == "table" else kernel
        super().__init__(negative, Window(), epilogue, outputs=outputs, kernel=words)

    def forward(self, inputs: Tensor) -> Any:
        """Return floats (..., channels) of floats (..., inputs), whose signs are taken, or of their bits."""
        bits = self._bits_of(inputs, rows=True)
        shape, rows = bits.shape[:-1], bits.reshape(1, 1, -1, bits.shape[-1])
        if len(shape) > 1 and self._by_second_axis():
            # torch's modules count their channels along the second axis, which is not the layer's now
            return self._by_torch(self.sums(rows).permute(0, 2, 3, 1).reshape(*shape, self.channels))
        found = self._run(rows, None)
        if self.outputs == "bits":
            return found.reshape(*shape, found.shape[-1])
        if self.outputs == "both":
            return self._rows(found[0], shape), found[1].reshape(*shape, found[1].shape[-1])
        return self._rows(found, shape)

    def _by_second_axis(self) -> bool:
        """Whether what follows has numbers of its own for every channel."""
        activation = self._epilogue.activation
        slopes = isinstance(activation, nn.PReLU) and activation.num_parameters > 1
        return slopes or self._epilogue.norm is not None

    def _by_torch(self, counts: Tensor) -> Any:
        values = (self.inputs - 2 * counts).float() * self._epilogue.scale
        if self._epilogue.bias is not None:
            values = values + self._epilogue.bias
        for module in (self._epilogue.norm, self._epilogue.activation):
            values = values if module is None else module(values)
        if self.outputs == "floats":
            return values
        bits = torch.ops.vispa.pack_signs(values, True)
        return bits if self.outputs == "bits" else (values, bits)

    def _rows(self, image: Tensor, shape: torch.Size) -> Tensor:
        return image.permute(0, 2, 3, 1).reshape(*shape, self.channels)

    def reference(self, inputs: Tensor) -> Tensor:
        """Return what torch makes of floats in the same layer."""
        sums = functional.linear(sign(inputs), self.signs()[:, :, 0])
        return self._epilogue(sums.reshape(-1, self.channels)).reshape(sums.shape)
