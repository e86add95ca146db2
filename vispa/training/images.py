"""Image files with a folder a class: read from a folder or a tar, decoded once, kept as bytes."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from solvers import checks
from vispa.training.archive import read_tar
from vispa.training.data import SMALLEST_SIDE, LabelledImages, labelled_images
from vispa.training.layout import EXTENSIONS, arrange

Pixels = NDArray[np.uint8]


def read_images(path: str | Path, *, size: int | None = None, progress: bool = False) -> LabelledImages:
    """Decode every image of a folder, or of a tar (plain, gz, bz2, xz) of one, into one array of bytes.

    Classes are folders, numbered by name; images may lie deeper.  ``train`` beside ``test`` or ``val`` at the
    top gives a test part of its own; anything else is split by `vispa.training.split.split`.  Hidden files and
    files that are not images by their extension are passed over.  Nothing is extracted to disk.

    Parameters
    ----------
    path : path
        A folder or a tar.
    size : int, optional
        Resize the shorter side to this and cut out the centre.  Without it all images must have one size.
    progress : bool, optional
        Show a bar on standard error, if that is a terminal.

    Returns
    -------
    LabelledImages
        RGB, (N, 3, H, W) uint8, in the order of the names, the test part last.

    Raises
    ------
    ValueError
        Naming the file: an image that cannot be decoded or has another size than the first one, an archive
        that is truncated or damaged, a file outside the folder of a class.
    ImportError
        If Pillow is not installed.

    Notes
    -----
    Memory: 3 H W bytes an image, and the files themselves while a tar is decoded.  Threads: one a processor.
    """
    path = Path(path)
    if size is not None:
        size = checks.integer("image_size", size, minimum=SMALLEST_SIDE)
    _require_pillow()
    files: dict[str, Any] = read_tar(path, _is_image) if path.is_file() else _list_folder(path)
    found = arrange(list(files), path)
    images = decode_all([(name, files[name]) for name in found.names], path, size, progress)
    try:
        return labelled_images(images, found.labels, found.test_from)
    except ValueError as error:
        raise ValueError(f"{path} is not a data set of images: {error}") from error


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


def _list_folder(path: Path) -> dict[str, Path]:
    if not path.is_dir():
        raise FileNotFoundError(f"{path} is neither a folder nor a file")
    found: dict[str, Path] = {}
    for folder, _, names in os.walk(path, followlinks=True):
        for name in names:
            file = Path(folder, name)
            relative = file.relative_to(path).as_posix()
            if _is_image(relative):
                found[relative] = file
    return found


def decode_all(
    files: list[tuple[str, bytes | Path]], source: Path, size: int | None, progress: bool
) -> Pixels:
    """Decode files, given by name and content or path, to (N, 3, H, W); errors as in `read_images`."""
    first = _decode(*files[0], source, size)
    pixels = np.empty((len(files), *first.shape), dtype=np.uint8)

    def place(index: int) -> None:
        name, content = files[index]
        image = _decode(name, content, source, size)
        if image.shape != first.shape:
            raise ValueError(
                f"{_where(name, content, source)} is {image.shape[2]} x {image.shape[1]} pixels, the first "
                f"image {first.shape[2]} x {first.shape[1]}; give image_size to bring them to one size"
            )
        pixels[index] = image

    _in_threads(place, range(len(files)), "images", progress)
    return pixels


def _in_threads(work: Callable[[int], None], items: Iterable[int], name: str, progress: bool) -> None:
    """Run ``work`` for all items; Pillow decodes outside the interpreter's lock."""
    items = list(items)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        try:
            for _ in tqdm(
                pool.map(work, items), total=len(items), desc=name, unit_scale=True, file=sys.stderr,
                leave=False, disable=None if progress else True,
            ):  # fmt: skip
                pass
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _decode(name: str, content: bytes | Path, source: Path, size: int | None) -> Pixels:
    """One image as (3, H, W) bytes."""
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(content) if isinstance(content, bytes) else content) as image:
            picture = image.convert("RGB")
    except Exception as error:  # Pillow's decoders raise whatever their format's code raises
        raise ValueError(f"{_where(name, content, source)} is not a readable image: {error}") from error
    if size is not None:
        picture = ImageOps.fit(picture, (size, size))
    if min(picture.size) < SMALLEST_SIDE:
        raise ValueError(
            f"{_where(name, content, source)} is {picture.size[0]} x {picture.size[1]} pixels; at least "
            f"{SMALLEST_SIDE} x {SMALLEST_SIDE} are needed, or image_size"
        )
    return np.asarray(picture).transpose(2, 0, 1)


def _where(name: str, content: bytes | Path, source: Path) -> str:
    return str(content) if isinstance(content, Path) else f"{name} in {source}"


def _require_pillow() -> None:
    import importlib.util

    if importlib.util.find_spec("PIL") is None:
        raise ImportError("a data set of images needs Pillow; install the extra `images`")
