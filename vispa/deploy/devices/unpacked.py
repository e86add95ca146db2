"""Packed layers on any device, by torch: signs are unpacked to +1 and -1 in every call, and torch multiplies them.

The memory between calls is that of bits; the speed is that of floats, less what unpacking takes.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from vispa.deploy.devices.by_triton import BITS, BOTH, SUMS
from vispa.deploy.epilogue import BIAS, CLAMP, NORM, PRELU, RECTIFY
from vispa.deploy.geometry import Window, plan

__all__ = ["packed_layer", "real_linear", "sign_words"]


def packed_layer(
    bits: Tensor, weights: Tensor, constants: Tensor | None, flips: Tensor | None, numbers: Tensor | None,
    residual: Tensor | None, outputs: Tensor | None, signs: Tensor | None, size: tuple[int, int], channels: int,
    window: list[int], mode: int, steps: int = 0,
) -> None:  # fmt: skip
    """Fill outputs and signs as `by_triton.packed_layer` does."""
    if bits.shape[0] * size[0] * size[1] == 0:
        return
    shape = Window.unflatten(window)
    counts = _differing(bits, weights, shape)[..., :channels]
    if mode == SUMS:
        assert outputs is not None
        outputs.copy_(counts)
        return
    assert constants is not None
    found = plan(shape, bits.shape[1], bits.shape[2], bits.shape[3]).classes[: size[0] * size[1]]
    classes = torch.from_numpy(found).to(bits.device)
    own = constants[classes].view(*size, -1)[..., :channels]
    if mode == BITS:
        assert signs is not None
        assert flips is not None
        signs.copy_(_words(counts > own) ^ flips)
        return
    assert numbers is not None
    assert outputs is not None
    outputs.copy_(_finished((own - 2 * counts).float(), numbers[:, :channels], residual, steps))
    if mode == BOTH:
        assert signs is not None
        signs.copy_(_words(~(outputs >= 0)))


def real_linear(inputs: Tensor, words: Tensor, scale: Tensor, bias: Tensor, outputs: Tensor) -> None:
    """Fill outputs (rows, channels) with scale * (inputs @ signs) + bias."""
    signs = _signs(words).flatten(1)[: len(scale), : inputs.shape[1]]
    outputs.copy_(functional.linear(inputs, signs) * scale + bias)


def sign_words(values: Tensor, bits: Tensor, rows: bool) -> None:
    """Fill bits (..., words) with the signs of floats, whose channels are the last axis, of images the second."""
    bits.copy_(_words(~((values if rows else values.permute(0, 2, 3, 1)) >= 0)))


def _differing(bits: Tensor, weights: Tensor, window: Window) -> Tensor:
    """Numbers of differing signs (images, height, width, filled up channels), int32."""
    own = bits.shape[3] // window.groups
    signs = _signs(weights).reshape(weights.shape[0] * 32, *window.kernel, own * 32).permute(0, 3, 1, 2)
    image = 1.0 - 2.0 * _bits(bits).flatten(3).permute(0, 3, 1, 2).float()
    above, below, left, right = (zero + one for zero, one in zip(window.zeros, window.ones, strict=True))
    image = functional.pad(image, (left, right, above, below), value=1.0)
    sums = functional.conv2d(image, signs, None, window.stride, 0, window.dilation, window.groups)
    # some convolutions transform what they sum, and are not exact before they are rounded
    return ((signs[0].numel() - sums.round()) / 2).to(torch.int32).permute(0, 2, 3, 1)


def _finished(sums: Tensor, numbers: Tensor, residual: Tensor | None, steps: int) -> Tensor:
    """Sums of products as floats, by the steps of an epilogue."""
    value = sums * numbers[0]
    if steps & BIAS:
        value = value + numbers[1]
    if steps & RECTIFY:
        value = torch.relu(value)
    if steps & NORM:
        value = value * numbers[2] + numbers[3]
    if residual is not None:
        value = value + residual
    if steps & CLAMP:
        value = torch.clamp(value, numbers[4], numbers[5])
    if steps & PRELU:
        value = torch.where(value > 0, value, value * numbers[6])
    return value


def _signs(words: Tensor) -> Tensor:
    """Words of weights (blocks, words, 32) as +1 and -1, (channels, words, 32)."""
    return 1.0 - 2.0 * _bits(words.transpose(1, 2)).flatten(0, 1).float()


def _bits(words: Tensor) -> Tensor:
    """Words (...) as bits (..., 32)."""
    return (words[..., None] >> torch.arange(32, device=words.device, dtype=torch.int32)) & 1


def _words(negative: Tensor) -> Tensor:
    """Booleans (..., channels) as int32 (..., words)."""
    filled = functional.pad(negative.int(), (0, -negative.shape[-1] % 32)).unflatten(-1, (-1, 32))
    places = torch.arange(32, device=negative.device, dtype=torch.int32)
    return (filled << places).sum(dim=-1, dtype=torch.int32)
