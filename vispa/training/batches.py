"""The batches of one epoch: shuffled, augmented, and divided among processes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vispa.training.augmentation import crop_and_flip
from vispa.training.data import LabelledImages
from vispa.training.processes import Processes

# In evaluation, where nothing is kept for a backward pass.
EVALUATION_PIXELS = 1 << 23
EVALUATION_BATCH = 1024


class Batch(NamedTuple):
    """Inputs and labels of this process, and its share of the batch times the number of processes."""

    inputs: Tensor
    labels: Tensor
    weight: float


def batches(
    data: LabelledImages,
    size: int,
    seed: tuple[int, ...],
    *,
    crop_padding: int = 0,
    flip: bool = False,
    processes: Processes | None = None,
) -> Iterator[Batch]:
    """Shuffle under ``seed`` alone, in batches of nearly equal sizes, at most ``size``; every image once.

    The mean over processes of ``weight * loss`` is the loss of the whole batch.
    """
    processes = processes or Processes(data.labels.device)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(data))
    for chosen in np.array_split(order, math.ceil(len(data) / size)):
        share = processes.share_of(len(chosen))
        indices = torch.from_numpy(chosen).to(data.labels.device)
        images = data.images[indices]
        if crop_padding or flip:
            # Of the whole batch in every process: cheap, and the same whatever their number.
            images = crop_and_flip(images, rng, padding=crop_padding, flip=flip)
        labels = data.labels[indices[share]]
        yield Batch(data.standardise(images[share]), labels, len(labels) * processes.count / len(chosen))


def evaluation_batches(data: LabelledImages, processes: Processes) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs and labels of this process's share of the data, in order, without augmentation."""
    share = processes.share_of(len(data))
    _, height, width = data.shape
    size = max(1, min(EVALUATION_BATCH, EVALUATION_PIXELS // (height * width)))
    for start in range(share.start, share.stop, size):
        chosen = slice(start, min(start + size, share.stop))
        yield data.inputs(chosen), data.labels[chosen]
