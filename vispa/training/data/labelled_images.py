"""Labelled images: as they are stored, with what their network is given."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from solvers import checks
from solvers.optional import require
from vispa.training.data.decoding import SMALLEST_SIDE
from vispa.training.data.streaming import ImageFiles

SMALLEST_CLASS = 4


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images (N, C, H, W), uint8 or float32, with labels (N,) int64 in 0 .. classes - 1.

    Attributes
    ----------
    images : Tensor or ImageFiles
        The latter where images are decoded batch by batch; they are then taken to where the labels are.
    test_from : int, optional
        Where the data came with a test part of its own: the index of its first image, all before it being for
        training and validation.
    mean, deviation : Tensor, optional
        Of shape (C, 1, 1): what `standardise` subtracts and divides by.  `vispa.training.data.split.split`
        sets them.
    """

    images: Tensor | ImageFiles
    labels: Tensor
    classes: int
    test_from: int | None = None
    mean: Tensor | None = None
    deviation: Tensor | None = None

    def __len__(self) -> int:
        return int(self.labels.shape[0])

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image."""
        channels, height, width = self.images.shape[1:]
        return int(channels), int(height), int(width)

    def take(self, indices: NDArray[np.int64]) -> LabelledImages:
        """Copy the images at the given indices, in that order; a test part is no longer marked."""
        chosen = torch.from_numpy(indices)
        images = self.images[chosen] if isinstance(self.images, Tensor) else self.images.take(indices)
        return replace(self, images=images, labels=self.labels[chosen], test_from=None)

    def to(self, device: torch.device) -> LabelledImages:
        """Move everything to a device: bytes stay bytes there, files files."""
        moved = {
            name: getattr(self, name).to(device)
            for name in ("images", "labels", "mean", "deviation")
            if isinstance(getattr(self, name), Tensor)
        }
        return replace(self, **moved)

    def pixels(self, chosen: Tensor | slice) -> Tensor:
        """Return the chosen images as they are stored, where the labels are."""
        return self.images[chosen].to(self.labels.device)

    def random_parts(self, chosen: Tensor, draws: NDArray[np.float64]) -> Tensor:
        """Return random parts of the chosen images; see `vispa.training.data.decoding.random_part`."""
        return self._files().random_parts(chosen, draws).to(self.labels.device)

    def zoomed(self, zoom: float) -> LabelledImages:
        """Return the same images, centres cut closer: the shorter side is resized to ``zoom`` times their size."""
        return replace(self, images=self._files().zoomed(zoom))

    def _files(self) -> ImageFiles:
        if isinstance(self.images, Tensor):
            raise ValueError(
                "resized_crops must be False for images that were brought to one size; load a folder or a tar "
                "with stream=True"
            )
        return self.images

    def standardise(self, images: Tensor) -> Tensor:
        """Return stored images as a network's inputs: float32, standardised where mean and deviation are known."""
        inputs = images.to(torch.float32)
        if self.mean is None or self.deviation is None:
            return inputs
        return (inputs - self.mean) / self.deviation

    def inputs(self, chosen: Tensor | slice = slice(None)) -> Tensor:
        """Inputs of a network for the chosen images, without augmentation."""
        return self.standardise(self.pixels(chosen))


def fingerprint(*parts: LabelledImages) -> str:
    """Return a digest that tells data apart by images and labels; files, which are not read, by names and sizes."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part.images, Tensor):
            digest.update(part.images.cpu().contiguous().numpy().tobytes())
        else:
            digest.update(part.images.fingerprint())
        digest.update(part.labels.cpu().numpy().tobytes())
        if part.test_from is not None:
            digest.update(str(part.test_from).encode())
    return digest.hexdigest()


def digits() -> LabelledImages:
    """Load the 1797 handwritten digits, 8 x 8 pixels, that scikit-learn ships (Alpaydin and Kaynak 1998).

    They come from 13 writers; a random split puts every writer on both sides.
    """
    require("sklearn", "digits", "the digits data set")
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return labelled_images(bunch.images, bunch.target)


def read_npz(path: str | Path) -> LabelledImages:
    """Read arrays ``images`` (N, C, H, W) or (N, H, W) and ``labels`` (N,) from an ``.npz`` file.

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


def labelled_images(
    images: NDArray[np.generic], labels: NDArray[np.integer], test_from: int | None = None
) -> LabelledImages:
    """Check and copy images (N, C, H, W) or (N, H, W), H, W >= 4, and labels 0 .. classes - 1.

    Bytes (uint8) are kept as bytes, other numbers as float32.

    Raises
    ------
    TypeError
        If the images are not real numbers or the labels not integers.
    ValueError
        If a shape does not fit, a pixel is not finite in float32, a label is negative, there are fewer than
        two classes, or a class has fewer than four images, or none in a part that is given.
    """
    images, labels = np.asarray(images), np.asarray(labels)
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim != 4 or images.shape[1] < 1 or min(images.shape[2:]) < SMALLEST_SIDE:
        raise ValueError(
            f"images must have shape (N, C, H, W) or (N, H, W) with H, W >= {SMALLEST_SIDE}; "
            f"found {images.shape}"
        )
    numbers, classes = _checked_labels(labels, len(images), test_from)
    pixels = np.array(images) if images.dtype == np.uint8 else _float32(images)
    return LabelledImages(torch.from_numpy(pixels), numbers, classes, test_from)


def labelled_files(
    images: ImageFiles, labels: NDArray[np.integer], test_from: int | None = None
) -> LabelledImages:
    """Check labels as `labelled_images` does; the images are looked at when they are decoded."""
    numbers, classes = _checked_labels(np.asarray(labels), images.shape[0], test_from)
    return LabelledImages(images, numbers, classes, test_from)


def _checked_labels(labels: NDArray[Any], count: int, test_from: int | None) -> tuple[Tensor, int]:
    if labels.dtype.kind not in "iu":
        raise TypeError(f"labels must be integers; found dtype {labels.dtype}")
    if labels.shape != (count,):
        raise ValueError(f"labels must have shape {(count,)}, one an image; found {labels.shape}")
    classes = _count_classes(labels)
    if test_from is not None:
        _check_parts(labels, classes, test_from)
    return torch.from_numpy(labels.astype(np.int64)), classes


def _float32(images: NDArray[np.generic]) -> NDArray[np.float32]:
    pixels = checks.real_array("images", images, dimensions=4)
    with np.errstate(over="ignore"):
        pixels32 = pixels.astype(np.float32)
    if not np.isfinite(pixels32).all():
        raise ValueError("images must be finite in float32; scale them down")
    return pixels32


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


def _check_parts(labels: NDArray[np.integer], classes: int, test_from: int) -> None:
    for part, found, least in (("training", labels[:test_from], 2), ("test", labels[test_from:], 1)):
        counts = np.bincount(found.astype(np.int64), minlength=classes)
        if counts.min() < least:
            raise ValueError(
                f"the {part} part must have at least {least} image(s) of every class; "
                f"class {int(counts.argmin())} has {int(counts.min())}"
            )
