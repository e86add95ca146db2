"""Linear layers of one bit a weight whose inputs stay floats: few rows wait for memory alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vispa.deploy import operators as _operators  # noqa: F401  defines torch.ops.vispa
from vispa.deploy.eager import eager
from vispa.deploy.layout import kernel_on, signs_of, words_of
from vispa.deploy.real_products import RealProducts, real_kernels
from vispa.deploy.signs import split_rows
from vispa.nn.weights.layout import Layout

__all__ = ["PackedRealLinear"]


class PackedRealLinear(nn.Module):
    """A linear layer of float32 inputs and a binary weight: ``alpha * (inputs @ signs.T) + bias``.

    Activations are rounded to whole numbers, 29 bits below the largest of a row with AVX-512 (VBMI, VNNI), 25 with
    AVX2. Their sums are exact: outputs are nearer the true ones than torch's, and no order matters. Sums of four
    activations with all their signs are looked up, eight a word of weights. Elsewhere, and for rows that are not
    finite, sign bits are turned, one weight at a time, and floats added in another order than torch's.

    Parameters
    ----------
    layer : Linear
        float32, every row of its weight of one absolute value.
    activation_bits : {24, 13}
        Bits that are kept of activations at least, below the largest of a row. 13 bits take half the instructions,
        where there are tables; outputs are off by about 1e-4 of the largest then.

    Raises
    ------
    ValueError
        If the weight is another, or there are other bits than these.

    Examples
    --------
    >>> import torch, vispa
    >>> layer = vispa.harden(vispa.binarize(torch.nn.Linear(100, 40), keep=()))
    >>> inputs = torch.randn(3, 100)
    >>> torch.allclose(PackedRealLinear(layer)(inputs), layer(inputs), atol=1e-5)
    True
    """

    words: Tensor
    scale: Tensor
    bias: Tensor

    def __init__(self, layer: nn.Linear, *, activation_bits: int = 24) -> None:
        super().__init__()
        rows = split_rows(layer.weight, Layout(tuple(layer.weight.shape)))
        if rows is None or layer.weight.dtype != torch.float32:
            raise ValueError("layer must be float32 with one absolute value in every row of its weight")
        self.inputs, self.channels = layer.in_features, layer.out_features
        self.register_buffer("words", words_of(rows.negative[:, None].numpy(), 1))
        self.register_buffer("scale", rows.scale)
        bias = torch.zeros_like(rows.scale) if layer.bias is None else layer.bias.detach().clone()
        self.register_buffer("bias", bias)
        self.kernel = self._of_processor = real_kernels(activation_bits)[0]
        self._products = RealProducts()
        self.eval()

    def _apply(self, *arguments: Any, **options: Any) -> Any:
        """Move what the layer consists of, and take the kernel of the device where it is then."""
        super()._apply(*arguments, **options)
        self.kernel = kernel_on(self.words.device, self._of_processor)
        return self

    @property
    def weight(self) -> Tensor:
        """The weight as floats (channels, inputs), unpacked anew: for code that reads it past the layer."""
        negative = torch.from_numpy(signs_of(self.words.cpu(), self.channels, 1, self.inputs)[:, 0])
        scale = self.scale[:, None]
        return torch.where(negative.to(scale.device), -scale, scale)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return floats (..., channels) of floats (..., inputs)."""
        if inputs.shape[-1:] != (self.inputs,):
            raise ValueError(f"inputs must be (..., {self.inputs}); found shape {tuple(inputs.shape)}")
        flat = inputs.ndim == 2
        rows = inputs if flat else inputs.reshape(-1, inputs.shape[-1])
        words, scale, bias = self.words, self.scale, self.bias
        outputs: Tensor
        if eager((rows, words, scale, bias)):
            outputs = self._products(rows, words, scale, bias, self.kernel)
        else:
            outputs = torch.ops.vispa.real_linear(rows, words, scale, bias, self.kernel)
        return outputs if flat else outputs.reshape(*inputs.shape[:-1], self.channels)

    def extra_repr(self) -> str:
        """Return the sizes."""
        return f"{self.inputs}, {self.channels}, kernel={self.kernel}"
