"""Images that stay encoded files until a batch of them is asked for: data sets larger than memory."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vispa.training.data.decoding import File, centre, decode_all, random_part

__all__ = ["ImageFiles"]


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """Images like a tensor of shape (N, 3, size, size), uint8, whose rows are decoded whenever they are taken.

    Attributes
    ----------
    files : tuple of File
        In a folder or a tar that is not compressed.
    size : int
        Height and width that images are brought to: the shorter side is resized, the centre cut out.
    zoom : float
        The shorter side becomes so many times ``size`` before the centre is cut out.
    """

    files: tuple[File, ...]
    size: int
    zoom: float = 1.0

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The shape, as a tensor has one."""
        return len(self.files), 3, self.size, self.size

    def __getitem__(self, chosen: Tensor | slice) -> Tensor:
        """Decode the chosen images."""
        shape = centre(self.size, self.zoom)
        return torch.from_numpy(decode_all(self._files(chosen), lambda _: shape))

    def random_parts(self, chosen: Tensor, draws: NDArray[np.float64]) -> Tensor:
        """Decode random parts of the chosen images: one row of `vispa.training.data.decoding.random_part` each."""
        files = self._files(chosen)
        return torch.from_numpy(decode_all(files, lambda index: random_part(self.size, draws[index])))

    def take(self, indices: NDArray[np.int64]) -> ImageFiles:
        """Return the images at the given indices, in that order; nothing is decoded."""
        return replace(self, files=tuple(self.files[index] for index in indices.tolist()))

    def zoomed(self, zoom: float) -> ImageFiles:
        """Return the same images, their centres cut closer."""
        return replace(self, zoom=zoom)

    def fingerprint(self) -> bytes:
        """Digest of names and sizes in bytes, which tells data sets apart without reading them."""
        digest = hashlib.sha256()
        for file in self.files:
            digest.update(f"{file.name}\0{file.size}\0".encode())
        return digest.digest()

    def _files(self, chosen: Tensor | slice) -> list[File]:
        if isinstance(chosen, slice):
            return list(self.files[chosen])
        return [self.files[index] for index in chosen.tolist()]
