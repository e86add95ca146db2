"""The batches of one epoch: shuffled, augmented, and divided among processes."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from vispa.training.data.augmentation import crop_and_flip, draw_moves
from vispa.training.data.labelled_images import LabelledImages
from vispa.training.processes import Processes

T = TypeVar("T")

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
    resized_crops: bool = False,
    processes: Processes | None = None,
) -> Iterator[Batch]:
    """Shuffle under ``seed`` alone, in batches of nearly equal sizes, at most ``size``; every image once.

    The mean over processes of ``weight * loss`` is the loss of the whole batch.  The augmentation is drawn for
    the whole batch in every process: the same whatever their number.
    """
    processes = processes or Processes(data.labels.device)
    rng = np.random.default_rng(seed)

    def produce() -> Iterator[Batch]:
        order = rng.permutation(len(data))
        for chosen in np.array_split(order, math.ceil(len(data) / size)):
            share = processes.share_of(len(chosen))
            indices = torch.from_numpy(chosen[share]).to(data.labels.device)
            if resized_crops:
                images = data.random_parts(indices, rng.random((len(chosen), 4))[share])
            else:
                images = data.pixels(indices)
            if crop_padding or flip:
                moves = draw_moves(rng, len(chosen), padding=crop_padding, flip=flip)
                images = crop_and_flip(images, moves.of(share), padding=crop_padding)
            weight = len(indices) * processes.count / len(chosen)
            yield Batch(data.standardise(images), data.labels[indices], weight)

    return produce() if isinstance(data.images, Tensor) else ahead(produce())


def evaluation_batches(data: LabelledImages, processes: Processes) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs and labels of this process's share of the data, in order, without augmentation."""

    def produce() -> Iterator[tuple[Tensor, Tensor]]:
        for chosen in _evaluation_slices(data, processes):
            yield data.inputs(chosen), data.labels[chosen]

    return produce() if isinstance(data.images, Tensor) else ahead(produce())


def _evaluation_slices(data: LabelledImages, processes: Processes) -> Iterator[slice]:
    share = processes.share_of(len(data))
    _, height, width = data.shape
    size = max(1, min(EVALUATION_BATCH, EVALUATION_PIXELS // (height * width)))
    for start in range(share.start, share.stop, size):
        yield slice(start, min(start + size, share.stop))


def collages(data: LabelledImages, processes: Processes) -> Iterator[tuple[Tensor, Tensor]]:
    """Images that are none: quarters of four images a quarter of the data apart, in batches as those of the data.

    Pixels and edges are those of the data, and no shape is; the labels are those of the first quarters, and mean
    nothing.
    """
    _, height, width = data.shape
    upper, lower = slice(None, height // 2), slice(height // 2, None)
    left, right = slice(None, width // 2), slice(width // 2, None)
    places = ((upper, right), (lower, left), (lower, right))
    for piece in _evaluation_slices(data, processes):
        chosen = torch.arange(piece.start, piece.stop, device=data.labels.device)
        made = data.inputs(chosen).clone()
        for number, (rows, columns) in enumerate(places, start=1):
            others = (chosen + number * max(1, len(data) // 4)) % len(data)
            made[..., rows, columns] = data.inputs(others)[..., rows, columns]
        yield made, data.labels[chosen]


def ahead(items: Iterator[T], count: int = 2) -> Iterator[T]:
    """Yield the same items, so many of them made in a thread while earlier ones are in use."""
    finished = object()
    with ThreadPoolExecutor(1) as pool:
        coming = deque(pool.submit(next, items, finished) for _ in range(count))
        while (item := coming.popleft().result()) is not finished:
            coming.append(pool.submit(next, items, finished))
            yield cast(T, item)
