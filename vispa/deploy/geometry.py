"""Where a window's signs lie: starts of pixels, offsets from there, and which taps fall on zero padding."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Plan", "Window", "plan", "pooled_size"]

Pair = tuple[int, int]
# Starts are filled up to a multiple of this, the pixels of the largest tile.
TILE = 8


@dataclass(frozen=True)
class Window:
    """The geometry of a convolution over two axes; a linear layer is one by one.

    Attributes
    ----------
    kernel, stride, dilation : (int, int)
        As torch has them.
    zeros : (int, int, int, int)
        Zero padding above, below, left and right.
    ones : (int, int, int, int)
        Padding by +1, inside the zeros.
    groups : int
        Of input and output channels.
    """

    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    zeros: tuple[int, int, int, int] = (0, 0, 0, 0)
    ones: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 1

    def flat(self) -> list[int]:
        """All numbers one after another, as an operator takes them; the inverse of `unflatten`."""
        return [
            *self.kernel, *self.stride, *self.dilation, *self.zeros, *self.ones, self.groups,
        ]  # fmt: skip

    @staticmethod
    def unflatten(numbers: list[int]) -> Window:
        """The window of a flat list."""
        kernel, stride, dilation, zeros, ones = (
            tuple(numbers[first:last]) for first, last in ((0, 2), (2, 4), (4, 6), (6, 10), (10, 14))
        )
        return Window(kernel, stride, dilation, zeros, ones, numbers[14])  # type: ignore[arg-type]

    def padded(self, height: int, width: int) -> Pair:
        """Height and width with all padding."""
        above, below, left, right = (zero + one for zero, one in zip(self.zeros, self.ones, strict=True))
        return height + above + below, width + left + right

    def outputs(self, height: int, width: int) -> Pair:
        """Height and width of the outputs, below one where the window is larger than the padded image."""
        down, across = (
            (padded - dilation * (kernel - 1) - 1) // stride + 1
            for padded, kernel, stride, dilation in zip(
                self.padded(height, width), self.kernel, self.stride, self.dilation, strict=True
            )
        )
        return down, across

    def outputs_of(self, height: int, width: int) -> Pair:
        """Height and width of the outputs.

        Raises
        ------
        ValueError
            If the window is larger than the padded image.
        """
        outputs = self.outputs(height, width)
        if min(outputs) < 0 or (min(outputs) < 1 and min(self.padded(height, width)) > 0):
            raise ValueError(
                f"inputs must be at least as large as the window {self.kernel}; found {height} x {width}"
            )
        return outputs

    def intervals(self, axis: int) -> list[Pair]:
        """First and last + 1 of the taps along an axis that can lie inside together, all taps first."""
        kernel, dilation, before = self.kernel[axis], self.dilation[axis], self.zeros[2 * axis]
        starts = range(min(kernel, -(-before // dilation)) + 1)
        stops = range(kernel, kernel - self.stops(axis), -1)
        return [(start, max(start, stop)) for start in starts for stop in stops]

    def stops(self, axis: int) -> int:
        """Number of different last + 1 among the intervals of an axis."""
        kernel, dilation, after = self.kernel[axis], self.dilation[axis], self.zeros[2 * axis + 1]
        return min(kernel, -(-after // dilation)) + 1

    def inside(self) -> NDArray[np.bool_]:
        """Which taps are inside in every class of pixels: (classes, taps), the first class having all."""
        rows, columns = ([self._taps(axis, span) for span in self.intervals(axis)] for axis in (0, 1))
        return np.array([np.outer(row, column).ravel() for row in rows for column in columns])

    def _taps(self, axis: int, span: Pair) -> NDArray[np.bool_]:
        taps = np.arange(self.kernel[axis])
        return np.asarray((taps >= span[0]) & (taps < span[1]))

    def class_along(self, axis: int, size: int, outputs: int) -> NDArray[np.int64]:
        """The interval of every output position along an axis, as an index of `intervals`."""
        kernel, dilation, before = self.kernel[axis], self.dilation[axis], self.zeros[2 * axis]
        inner = size + self.ones[2 * axis] + self.ones[2 * axis + 1]
        first = np.arange(outputs) * self.stride[axis] - before
        start = np.clip(-(first // dilation), 0, kernel)
        stop = np.clip(-((first - inner) // dilation), start, kernel)
        index: dict[Pair, int] = {}
        for place, span in enumerate(self.intervals(axis)):
            index.setdefault(span, place)
        return np.array([index[int(a), int(b)] for a, b in zip(start, stop, strict=True)], dtype=np.int64)


@dataclass(frozen=True)
class Plan:
    """What a kernel needs to know of one size of inputs.

    Attributes
    ----------
    starts : (pixels and some, ) int64
        Word of the padded image at which the window of a pixel begins, the last repeated.
    offsets : (groups, words of a window) int64
        From there to each word.
    classes : (pixels and some, ) int64
        Rows of `Window.inside`.
    padded, outputs : (height, width)
        Of the image with its border, and of the outputs.
    """

    starts: NDArray[np.int64]
    offsets: NDArray[np.int64]
    classes: NDArray[np.int64]
    padded: Pair
    outputs: Pair


@functools.lru_cache(maxsize=256)
def plan(window: Window, height: int, width: int, words: int) -> Plan:
    """The plan for images of a size with so many words a pixel.

    Raises
    ------
    ValueError
        If the window is larger than the padded image.

    Examples
    --------
    >>> found = plan(Window(kernel=(3, 3), zeros=(1, 1, 1, 1)), 4, 4, 1)
    >>> found.outputs, found.padded, found.offsets[0].tolist()
    ((4, 4), (6, 6), [0, 1, 2, 6, 7, 8, 12, 13, 14])
    """
    padded, outputs = window.padded(height, width), window.outputs_of(height, width)
    row = padded[1] * words
    down, across = np.arange(outputs[0]) * window.stride[0], np.arange(outputs[1]) * window.stride[1]
    starts = (down[:, None] * row + across * words).ravel()
    classes = (
        window.class_along(0, height, outputs[0])[:, None] * len(window.intervals(1))
        + window.class_along(1, width, outputs[1])
    ).ravel()
    own = words // window.groups
    taps = (
        np.arange(window.kernel[0])[:, None] * window.dilation[0] * row
        + np.arange(window.kernel[1]) * window.dilation[1] * words
    ).ravel()
    offsets = np.array(
        [(taps[:, None] + group * own + np.arange(own)).ravel() for group in range(window.groups)]
    )
    places = np.minimum(np.arange(-(-starts.size // TILE) * TILE), max(starts.size - 1, 0))
    return Plan(starts[places], offsets, classes[places], padded, outputs)


def pooled_size(size: Pair, window: list[int], ceil_mode: bool) -> Pair:
    """Height and width after a pool, as torch has them; window is size, stride and padding, in pairs."""
    found = []
    for axis in (0, 1):
        kernel, stride, padding = window[axis], window[2 + axis], window[4 + axis]
        room = size[axis] + 2 * padding - kernel
        count = -(-room // stride) + 1 if ceil_mode else room // stride + 1
        # as torch: no window begins in the padding after the last entry
        if ceil_mode and (count - 1) * stride >= size[axis] + padding:
            count -= 1
        found.append(count)
    return found[0], found[1]
