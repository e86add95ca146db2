"""One image file as an array of bytes: as it is, its centre, or a random part of it, in threads for many."""

from __future__ import annotations

import io
import math
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from vispa.training.data.archive import Member

if TYPE_CHECKING:
    from PIL.Image import Image

Pixels: TypeAlias = NDArray[np.uint8]
# Of a file in a folder nothing but its name is kept: there may be millions.
Content: TypeAlias = bytes | Member | None

# Pixels of an image's shorter side, at least.
SMALLEST_SIDE = 4

# Of a random part: the share of the area that it covers at least, and its longest side over its shortest.
LEAST_AREA = 0.08
MOST_ELONGATED = 4 / 3


class File(NamedTuple):
    """An image file: its name within ``source``, a folder or a tar, and for a tar its content or where that is."""

    name: str
    content: Content
    source: Path

    def __str__(self) -> str:
        """The file in an error message."""
        return str(self.source / self.name) if self.content is None else f"{self.name} in {self.source}"

    @property
    def size(self) -> int:
        """In bytes."""
        if self.content is None:
            return (self.source / self.name).stat().st_size
        return self.content.size if isinstance(self.content, Member) else len(self.content)

    def decode(self, shape: Callable[[Image], Image]) -> Pixels:
        """Return ``shape(image)``, which is RGB, as (3, H, W) bytes.

        Raises
        ------
        ValueError
            Naming the file, if it is no image, or one that is damaged or too small.
        """
        from PIL import Image

        try:
            with Image.open(self._opened()) as image:
                picture = shape(image)
        except Exception as error:  # Pillow's decoders raise whatever their format's code raises
            raise ValueError(f"{self} is not a readable image: {error}") from error
        if min(picture.size) < SMALLEST_SIDE:
            raise ValueError(
                f"{self} is {picture.size[0]} x {picture.size[1]} pixels; at least "
                f"{SMALLEST_SIDE} x {SMALLEST_SIDE} are needed, or image_size"
            )
        return np.asarray(picture).transpose(2, 0, 1)

    def _opened(self) -> io.BytesIO | Path:
        if self.content is None:
            return self.source / self.name
        content = self.content.read(self.source) if isinstance(self.content, Member) else self.content
        return io.BytesIO(content)


def whole(image: Image) -> Image:
    """Return the image as it is."""
    return image.convert("RGB")


def centre(size: int, zoom: float = 1.0) -> Callable[[Image], Image]:
    """Return what resizes the shorter side to ``zoom * size`` and cuts ``size x size`` out of the centre."""
    from PIL import ImageOps

    return lambda image: ImageOps.fit(image.convert("RGB"), (size, size), bleed=0.5 * (1 - 1 / zoom))


def random_part(size: int, draws: NDArray[np.float64]) -> Callable[[Image], Image]:
    """Return what resizes a part of an image to ``size x size``.

    Parameters
    ----------
    size : int
        Height and width of the result.
    draws : (4,) array in [0, 1)
        Area (8 to 100 % of the image), logarithm of the ratio of the sides (3/4 to 4/3), place from the left
        and from the top. What reaches beyond the image is cut off.
    """
    from PIL.Image import Resampling

    def part(image: Image) -> Image:
        width, height = image.size
        box = part_of(width, height, draws)
        # A JPEG can be decoded at a half, a quarter or an eighth of its size, where that is enough.
        wanted = size * width / (box[2] - box[0]), size * height / (box[3] - box[1])
        image.draft("RGB", (math.ceil(wanted[0]), math.ceil(wanted[1])))
        across, down = image.size[0] / width, image.size[1] / height
        scaled = (box[0] * across, box[1] * down, box[2] * across, box[3] * down)
        return image.convert("RGB").resize((size, size), Resampling.BILINEAR, box=scaled)

    return part


def part_of(width: int, height: int, draws: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """Left, top, right and lower end of the part of `random_part`."""
    area, elongation, left, top = draws.tolist()
    pixels = width * height * (LEAST_AREA + (1 - LEAST_AREA) * area)
    ratio = MOST_ELONGATED ** (2 * elongation - 1)
    across, down = min(width, math.sqrt(pixels * ratio)), min(height, math.sqrt(pixels / ratio))
    start, top = left * (width - across), top * (height - down)
    return start, top, min(start + across, width), min(top + down, height)


def decode_all(
    files: list[File], shapes: Callable[[int], Callable[[Image], Image]], *, progress: bool = False
) -> Pixels:
    """Decode files, each shaped by ``shapes(index)``, to (N, 3, H, W).

    Raises
    ------
    ValueError
        As `File.decode`, and if an image has another size than the first.
    """
    first = files[0].decode(shapes(0))
    pixels = np.empty((len(files), *first.shape), dtype=np.uint8)
    pixels[0] = first

    def place(index: int) -> None:
        image = files[index].decode(shapes(index))
        if image.shape != first.shape:
            raise ValueError(
                f"{files[index]} is {image.shape[2]} x {image.shape[1]} pixels, the first "
                f"image {first.shape[2]} x {first.shape[1]}; give image_size to bring them to one size"
            )
        pixels[index] = image

    _in_threads(place, range(1, len(files)), progress)
    return pixels


def _in_threads(work: Callable[[int], None], items: Any, progress: bool) -> None:
    """Run ``work`` for all items; Pillow decodes outside the interpreter's lock."""
    with ThreadPoolExecutor(_threads()) as pool:
        try:
            for _ in tqdm(
                pool.map(work, items), total=len(items), desc="images", unit_scale=True, file=sys.stderr,
                leave=False, disable=None if progress else True,
            ):  # fmt: skip
                pass
        except BaseException:  # an interruption too must not wait for what is still in the queue
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _threads() -> int:
    """Processors of this host, shared with the other processes that a launcher started on it."""
    return max(1, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
