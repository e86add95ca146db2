"""Image files with a folder a class, in a folder or a tar: decoded once and kept as bytes, or batch by batch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from solvers import checks
from vispa.training.data.archive import index_tar, read_tar
from vispa.training.data.decoding import SMALLEST_SIDE, Content, File, Pixels, centre, decode_all, whole
from vispa.training.data.labelled_images import LabelledImages, labelled_files, labelled_images
from vispa.training.data.layout import EXTENSIONS, arrange
from vispa.training.data.streaming import ImageFiles


def read_images(
    path: str | Path, *, size: int | None = None, stream: bool = False, progress: bool = False
) -> LabelledImages:
    """Read the images of a folder, or of a tar (plain, gz, bz2, xz) of one, with a folder a class.

    Classes are folders, numbered by name; images may lie deeper.  ``train`` beside ``test`` or ``val`` at the
    top gives a test part of its own; anything else is split by `vispa.training.data.split.split`.  Hidden files and
    files that are not images by their extension are passed over.  Nothing is extracted to disk.

    Parameters
    ----------
    path : path
        A folder or a tar.
    size : int, optional
        Resize the shorter side to this and cut out the centre.  Without it all images must have one size.
    stream : bool, optional
        Decode images batch by batch, again in every epoch, instead of keeping all of them in memory.  Needs
        ``size``, and a tar that is not compressed.
    progress : bool, optional
        Show a bar on standard error, if that is a terminal.

    Returns
    -------
    LabelledImages
        RGB, (N, 3, H, W) uint8, in the order of the names, the test part last; with ``stream`` the images are
        `vispa.training.data.streaming.ImageFiles` instead of a tensor.

    Raises
    ------
    ValueError
        Naming the file: an image that cannot be decoded or has another size than the first one, an archive
        that is truncated or damaged, a file outside the folder of a class.  With ``stream`` images are looked
        at when they are decoded.
    ImportError
        If Pillow is not installed.

    Notes
    -----
    Memory: 3 H W bytes an image, and the files themselves while a tar is decoded; with ``stream`` the names
    alone.  Threads: one a processor.
    """
    path = Path(path)
    if size is not None:
        size = checks.integer("image_size", size, minimum=SMALLEST_SIDE)
    elif checks.boolean("stream", stream):
        raise ValueError("image_size must be given for images that are streamed: batches are of one size")
    _require_pillow()
    contents = _contents(path, stream)
    found = arrange(list(contents), path)
    files = tuple(File(name, contents[name], path) for name in found.names)
    images: Any  # of the kind that the function below takes
    if stream:
        images = ImageFiles(files, 0 if size is None else size)
    else:
        shape = whole if size is None else centre(size)
        images = decode_all(list(files), lambda _: shape, progress=progress)
    try:
        return (labelled_files if stream else labelled_images)(images, found.labels, found.test_from)
    except ValueError as error:
        raise ValueError(f"{path} is not a data set of images: {error}") from error


def _contents(path: Path, stream: bool) -> Mapping[str, Content]:
    if not path.is_file():
        return dict.fromkeys(_list_folder(path))
    return index_tar(path, _is_image) if stream else read_tar(path, _is_image)


def read_torchvision(name: str) -> LabelledImages:
    """Download, once, and read a data set of torchvision that comes in a training and a test part.

    CIFAR10, CIFAR100, MNIST and others whose constructor takes ``train=``; they are kept in
    ``~/.cache/vispa``.

    Raises
    ------
    ValueError
        If torchvision has no such data set.
    ImportError
        If torchvision is not installed.
    """
    try:
        from torchvision import datasets
    except ImportError as error:
        raise ImportError(
            f"dataset 'torchvision:{name}' needs torchvision; install the extra `vision`"
        ) from error
    kind = getattr(datasets, name, None)
    if kind is None:
        raise ValueError(f"dataset: torchvision has none named {name!r}")
    root = Path.home() / ".cache" / "vispa"
    try:
        parts = [kind(str(root), train=train, download=True) for train in (True, False)]
    except TypeError as error:
        raise ValueError(
            f"dataset: torchvision's {name} does not come in a training and a test part"
        ) from error
    pixels, labels = zip(
        *((_channels_first(image), label) for part in parts for image, label in part), strict=True
    )
    return labelled_images(np.stack(pixels), np.array(labels), len(parts[0]))


def _channels_first(image: Any) -> Pixels:
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _is_image(name: str) -> bool:
    return name.lower().endswith(EXTENSIONS) and not any(part.startswith(".") for part in name.split("/"))


def _list_folder(path: Path) -> list[str]:
    if not path.is_dir():
        raise FileNotFoundError(f"{path} is neither a folder nor a file")
    found: list[str] = []
    for folder, _, names in os.walk(path, followlinks=True):
        relative = Path(folder).relative_to(path)
        found += filter(_is_image, (f"{relative.as_posix()}/{name}".removeprefix("./") for name in names))
    return found


def _require_pillow() -> None:
    import importlib.util

    if importlib.util.find_spec("PIL") is None:
        raise ImportError("a data set of images needs Pillow; install the extra `images`")
