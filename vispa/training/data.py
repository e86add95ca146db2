"""Labelled images and their stratified split: training, validation for selection, test used once."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from solvers import checks

TEST_FRACTION = 0.2
VALIDATION_FRACTION = 1 / 6  # of what the test split leaves
# The test images are the same whatever the seed of a run, so that no choice of seed can choose them.
TEST_SPLIT_SEED = 0
SMALLEST_CLASS = 4
SMALLEST_SIDE = 4


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images (N, 1, H, W) float32 with labels (N,) int64 in 0 .. classes - 1."""

    images: Tensor
    labels: Tensor
    classes: int

    def __len__(self) -> int:
        return int(self.labels.shape[0])

    def take(self, indices: NDArray[np.int64]) -> LabelledImages:
        """Copy the images at the given indices, in that order."""
        chosen = torch.from_numpy(indices)
        return replace(self, images=self.images[chosen], labels=self.labels[chosen])


@dataclass(frozen=True, eq=False)
class Split:
    """Three disjoint stratified parts, standardised by the mean and deviation of the training pixels."""

    train: LabelledImages
    validation: LabelledImages
    test: LabelledImages


def load(dataset: str | Path) -> LabelledImages:
    """Load ``"digits"``, or an ``.npz`` file by its path.

    Raises
    ------
    ValueError
        If the name is neither, or the file does not hold what `read_npz` asks for.
    OSError
        If the file cannot be opened.

    Examples
    --------
    >>> len(load("digits"))
    1797
    """
    if str(dataset) == "digits":
        return digits()
    path = Path(dataset)
    if path.suffix != ".npz":
        raise ValueError(
            f"dataset must be 'digits' or the path of an .npz file with arrays images and labels; "
            f"found {str(dataset)!r}"
        )
    return read_npz(path)


def digits() -> LabelledImages:
    """Load the 1797 handwritten digits, 8 x 8 pixels, that scikit-learn ships (Alpaydin and Kaynak 1998).

    They come from 13 writers; a random split puts every writer on both sides.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return labelled_images(bunch.images, bunch.target)


def read_npz(path: str | Path) -> LabelledImages:
    """Read arrays ``images`` (N, 1, H, W) or (N, H, W) and ``labels`` (N,) from an ``.npz`` file.

    Pickled objects are never loaded.

    Raises
    ------
    ValueError
        Naming the file, if it is damaged or its arrays do not fit; see `labelled_images`.
    OSError
        If the file cannot be opened.
    """
    try:
        # Opened here, for NumPy leaves a damaged file open.
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as archive:
            missing = {"images", "labels"} - set(archive.files)
            if missing:
                raise ValueError(f"it has no array named {' or '.join(sorted(missing))}")
            images, labels = archive["images"], archive["labels"]
        return labelled_images(images, labels)
    except (ValueError, TypeError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a data set of images and labels: {error}") from error


def labelled_images(images: NDArray[np.floating], labels: NDArray[np.integer]) -> LabelledImages:
    """Check and copy images (N, 1, H, W) or (N, H, W), H, W >= 4, and labels 0 .. classes - 1.

    Raises
    ------
    TypeError
        If the images are not real numbers or the labels not integers.
    ValueError
        If a shape does not fit, a pixel is not finite in float32, a label is negative, there are fewer than
        two classes, or a class has fewer than four images.
    """
    images, labels = np.asarray(images), np.asarray(labels)
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim != 4 or images.shape[1] != 1 or min(images.shape[2:]) < SMALLEST_SIDE:
        raise ValueError(
            f"images must have shape (N, 1, H, W) or (N, H, W) with H, W >= {SMALLEST_SIDE}; "
            f"found {images.shape}"
        )
    if labels.dtype.kind not in "iu":
        raise TypeError(f"labels must be integers; found dtype {labels.dtype}")
    if labels.shape != images.shape[:1]:
        raise ValueError(f"labels must have shape {images.shape[:1]}, one an image; found {labels.shape}")
    pixels = checks.real_array("images", images, dimensions=4)
    with np.errstate(over="ignore"):
        pixels32 = pixels.astype(np.float32)
    if not np.isfinite(pixels32).all():
        raise ValueError("images must be finite in float32; scale them down")
    return LabelledImages(
        torch.from_numpy(pixels32), torch.from_numpy(labels.astype(np.int64)), _count_classes(labels)
    )


def _count_classes(labels: NDArray[np.integer]) -> int:
    if labels.size == 0 or labels.min() < 0:
        raise ValueError("labels must be 0, 1, ..., classes - 1, and there must be some")
    if labels.max() >= labels.size:
        raise ValueError(
            f"labels must be 0, 1, ..., classes - 1; found {labels.max()} among {labels.size} labels"
        )
    counts = np.bincount(labels.astype(np.int64))
    if counts.size < 2:
        raise ValueError("labels must have at least 2 classes; found 1")
    if counts.min() < SMALLEST_CLASS:
        raise ValueError(
            f"every class must have at least {SMALLEST_CLASS} images, to be split; "
            f"class {int(counts.argmin())} has {int(counts.min())}"
        )
    return int(counts.size)


def split(data: LabelledImages, *, seed: int, train_size: int | None = None) -> Split:
    """Stratified parts: a fifth for the test, a sixth of the rest for validation, the rest for training.

    The test part depends on the data alone, never on ``seed``; the seed divides the rest.  A smaller
    ``train_size`` takes fewer training images and leaves validation as it is.

    Raises
    ------
    ValueError
        If ``train_size`` is smaller than the number of classes or larger than what is there, or if all
        training pixels are equal.

    Examples
    --------
    >>> parts = split(digits(), seed=0, train_size=200)
    >>> len(parts.train), len(parts.validation), len(parts.test)
    (200, 240, 359)
    """
    seed = checks.integer("seed", seed, minimum=0)
    labels = data.labels.numpy()
    everything = np.arange(len(data))
    rest, test = _divide(everything, labels, TEST_FRACTION, np.random.default_rng(TEST_SPLIT_SEED))
    rng = np.random.default_rng(seed)
    train, validation = _divide(rest, labels, VALIDATION_FRACTION, rng)
    if train_size is not None:
        train_size = checks.integer("train_size", train_size, minimum=data.classes, maximum=train.size)
        if train_size < train.size:
            train = _stratified(train, labels, train_size, rng)
    return _standardise(data.take(train), data.take(validation), data.take(test))


def _divide(
    indices: NDArray[np.int64], labels: NDArray[np.int64], fraction: float, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return what remains, and a stratified share taken out of it."""
    classes = int(labels.max()) + 1
    taken = _stratified(indices, labels, max(round(fraction * indices.size), classes), rng)
    return np.setdiff1d(indices, taken), taken


def _stratified(
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


def _standardise(train: LabelledImages, validation: LabelledImages, test: LabelledImages) -> Split:
    mean, deviation = train.images.mean(), train.images.std(correction=0)
    if not deviation > 0:
        raise ValueError("images must differ; all pixels of the training images are equal")
    return Split(
        *(replace(part, images=(part.images - mean) / deviation) for part in (train, validation, test))
    )
