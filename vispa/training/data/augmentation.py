"""Random crops and mirror images, computed where the images are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

__all__ = ["Moves", "crop_and_flip", "draw_moves"]


class Moves(NamedTuple):
    """What happens to each of N images: where the crop begins in the padded image, and whether it is mirrored."""

    down: NDArray[np.int64]
    right: NDArray[np.int64]
    mirrored: NDArray[np.bool_]

    def of(self, share: slice) -> Moves:
        """Return the moves of some of the images."""
        return Moves(self.down[share], self.right[share], self.mirrored[share])


def draw_moves(rng: np.random.Generator, count: int, *, padding: int, flip: bool) -> Moves:
    """Draw moves of up to ``padding`` pixels, and, with ``flip``, mirror every second image on average."""
    down, right = rng.integers(0, 2 * padding + 1, size=(2, count))
    mirrored = rng.random(count) < 0.5
    return Moves(down, right, mirrored & flip)


def crop_and_flip(images: Tensor, moves: Moves, *, padding: int) -> Tensor:
    """Move each image by up to ``padding`` pixels, black moving in, and mirror those that are to be mirrored.

    Parameters
    ----------
    images : (N, C, H, W) Tensor
        Of any dtype, on any device, where one gather does the work; unchanged.
    moves : Moves
        Drawn on the CPU, by `draw_moves`: the same augmentation on every device.
    padding : int
        Pixels on each side, at least 0.

    Returns
    -------
    (N, C, H, W) Tensor

    Examples
    --------
    >>> images = torch.arange(4).view(1, 1, 2, 2)
    >>> moves = draw_moves(np.random.default_rng(0), 1, padding=1, flip=False)
    >>> crop_and_flip(images, moves, padding=1).tolist()
    [[[[2, 3], [0, 0]]]]
    """
    count, _, height, width = images.shape
    rows = moves.down[:, None] + np.arange(height)
    columns = moves.right[:, None] + np.arange(width)
    columns[moves.mirrored] = columns[moves.mirrored, ::-1]
    device = images.device
    which = torch.arange(count, device=device)[:, None, None]
    # Advanced indices around the slice of channels put the channels last.
    gathered = pad(images, (padding,) * 4)[
        which,
        :,
        torch.from_numpy(rows).to(device)[:, :, None],
        torch.from_numpy(columns).to(device)[:, None, :],
    ]
    return gathered.permute(0, 3, 1, 2)
