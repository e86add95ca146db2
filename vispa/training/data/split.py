"""Stratified split: training, validation for selection, and test, used once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from solvers import checks
from vispa.training.data.labelled_images import LabelledImages

TEST_FRACTION = 0.2
VALIDATION_FRACTION = 1 / 6  # of what the test split leaves
VALIDATION_FRACTION_BESIDE_A_TEST_PART = 0.1  # the custom for CIFAR: 45,000 and 5,000
# The test images are the same whatever the seed of a run, so that no choice of seed can choose them.
TEST_SPLIT_SEED = 0
# Files that are decoded for mean and deviation.
ENOUGH_FOR_STATISTICS = 1000


@dataclass(frozen=True, eq=False)
class Split:
    """Three disjoint stratified parts, all standardised, channel by channel, by the training pixels."""

    train: LabelledImages
    validation: LabelledImages
    test: LabelledImages

    def to(self, device: torch.device) -> Split:
        """Move all parts to a device."""
        return Split(self.train.to(device), self.validation.to(device), self.test.to(device))

    def zoomed(self, zoom: float) -> Split:
        """Cut the centres of all images closer, as `LabelledImages.zoomed`."""
        return Split(self.train.zoomed(zoom), self.validation.zoomed(zoom), self.test.zoomed(zoom))


def split(data: LabelledImages, *, seed: int, train_size: int | None = None) -> Split:
    """Stratified parts: a fifth for the test, a sixth of the rest for validation, the rest for training.

    Data with a test part of its own keeps it, and gives a tenth of the rest to validation.  The test part
    depends on the data alone, never on ``seed``; the seed divides the rest.  A smaller ``train_size`` takes
    fewer training images and leaves validation as it is.

    Raises
    ------
    ValueError
        If ``train_size`` is smaller than the number of classes or larger than what is there, or if all
        training pixels of a channel are equal.

    Examples
    --------
    >>> from vispa.training.data.labelled_images import digits
    >>> parts = split(digits(), seed=0, train_size=200)
    >>> len(parts.train), len(parts.validation), len(parts.test)
    (200, 240, 359)
    """
    seed = checks.integer("seed", seed, minimum=0)
    labels = data.labels.numpy()
    everything = np.arange(len(data))
    if data.test_from is None:
        rest, test = _divide(everything, labels, TEST_FRACTION, np.random.default_rng(TEST_SPLIT_SEED))
        fraction = VALIDATION_FRACTION
    else:
        rest, test = everything[: data.test_from], everything[data.test_from :]
        fraction = VALIDATION_FRACTION_BESIDE_A_TEST_PART
    rng = np.random.default_rng(seed)
    train, validation = _divide(rest, labels, fraction, rng)
    if train_size is not None:
        train_size = checks.integer("train_size", train_size, minimum=data.classes, maximum=train.size)
        if train_size < train.size:
            train = stratified(train, labels, train_size, rng)
    return _standardised(data.take(train), data.take(validation), data.take(test))


def _divide(
    indices: NDArray[np.int64], labels: NDArray[np.int64], fraction: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return what remains, and a stratified share taken out of it."""
    classes = int(labels.max()) + 1
    taken = stratified(indices, labels, max(round(fraction * indices.size), classes), rng)
    return np.setdiff1d(indices, taken), taken


def stratified(
    indices: NDArray[np.int64], labels: NDArray[np.int64], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw ``count`` indices, sorted; class shares by largest remainder, at least one of each class."""
    members = [indices[labels[indices] == label] for label in range(int(labels.max()) + 1)]
    sizes = np.array([member.size for member in members])
    exact = count * sizes / sizes.sum()
    shares = np.maximum(np.floor(exact).astype(int), 1)
    while shares.sum() != count:
        step = 1 if shares.sum() < count else -1
        movable = shares < sizes if step > 0 else shares > 1
        surplus = np.where(movable, step * (exact - shares), -np.inf)
        shares[int(np.argmax(surplus))] += step
    chosen = [rng.permutation(member)[:share] for member, share in zip(members, shares, strict=True)]
    return np.sort(np.concatenate(chosen))


def _standardised(train: LabelledImages, validation: LabelledImages, test: LabelledImages) -> Split:
    pixels = _sample(train)
    # Channel by channel, for the whole of a large set in single precision would take four times its memory.
    channels = [pixels[:, channel].to(torch.float32) for channel in range(train.shape[0])]
    mean = _column([pixels.mean() for pixels in channels])
    deviation = _column([pixels.std(correction=0) for pixels in channels])
    if not bool(torch.isfinite(deviation).all()):
        raise ValueError("images must have a variance that is finite in float32; scale them down")
    if not bool((deviation > 0).all()):
        channel = int((deviation.flatten() > 0).long().argmin())
        raise ValueError(
            f"images must differ; all pixels of channel {channel} of the training images are equal"
        )
    return Split(*(replace(part, mean=mean, deviation=deviation) for part in (train, validation, test)))


def _sample(train: LabelledImages) -> Tensor:
    """Training pixels; of files so many, evenly spread, that mean and deviation are known well."""
    if isinstance(train.images, Tensor):
        return train.images
    return train.pixels(torch.arange(0, len(train), max(1, len(train) // ENOUGH_FOR_STATISTICS)))


def _column(values: list[Tensor]) -> Tensor:
    return torch.stack(values).view(-1, 1, 1)
