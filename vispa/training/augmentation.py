"""Random crops and mirror images, computed where the images are."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

__all__ = ["crop_and_flip"]


def crop_and_flip(images: Tensor, rng: np.random.Generator, *, padding: int, flip: bool) -> Tensor:
    """Move each image by up to ``padding`` pixels, black moving in, and mirror every second one on average.

    Parameters
    ----------
    images : (N, C, H, W) Tensor
        Of any dtype, on any device, where one gather does the work; unchanged.
    rng : numpy.random.Generator
        Draws on the CPU: the same augmentation on every device.
    padding : int
        Pixels on each side, at least 0.
    flip : bool
        Whether left and right may change places.

    Returns
    -------
    (N, C, H, W) Tensor

    Examples
    --------
    >>> images = torch.arange(4).view(1, 1, 2, 2)
    >>> crop_and_flip(images, np.random.default_rng(0), padding=1, flip=False).tolist()
    [[[[2, 3], [0, 0]]]]
    """
    count, _, height, width = images.shape
    shifts = rng.integers(0, 2 * padding + 1, size=(2, count))
    mirrored = rng.random(count) < 0.5
    rows = shifts[0][:, None] + np.arange(height)
    columns = shifts[1][:, None] + np.arange(width)
    if flip:
        columns[mirrored] = columns[mirrored, ::-1]
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
