"""A data set by its name or its path, whatever kind it is of."""

from __future__ import annotations

from pathlib import Path

from solvers import checks
from vispa.training.data.folders import read_images, read_torchvision
from vispa.training.data.labelled_images import LabelledImages, digits, read_npz

# What the name of a data set that torchvision downloads begins with.
TORCHVISION = "torchvision:"


def load(
    dataset: str | Path, *, image_size: int | None = None, stream: bool = False, progress: bool = False
) -> LabelledImages:
    """Load ``"digits"``, a torchvision data set by its name, or a file or folder by its path.

    Parameters
    ----------
    dataset : str or path
        ``"digits"``; an ``.npz`` file (`read_npz`); a folder of images or a tar of one
        (`vispa.training.data.folders.read_images`); or ``"torchvision:CIFAR10"`` and the like, where torchvision is
        installed (`vispa.training.data.folders.read_torchvision`).
    image_size : int, optional
        Height and width to bring every image of a folder or tar to.
    stream : bool, optional
        Decode the images of a folder or tar batch by batch, for data sets that are larger than memory.
    progress : bool, optional
        Show a bar on standard error while images are decoded, if that is a terminal.

    Raises
    ------
    ValueError
        If there is nothing of that name, or it does not hold what is asked for; the file is named.
    OSError
        If a file cannot be opened.

    Examples
    --------
    >>> len(load("digits"))
    1797
    """
    name, path = str(dataset), Path(dataset)
    is_images = path.is_dir() or ".tar" in path.suffixes or path.suffix in (".tgz", ".txz", ".tbz2")
    if not is_images and (checks.boolean("stream", stream) or image_size is not None):
        option = "stream, which the ImageNet recipes ask for," if stream else "image_size"
        raise ValueError(f"{option} belongs to a folder or a tar of images; found dataset {name!r}")
    if name == "digits":
        return digits()
    if name.startswith(TORCHVISION):
        return read_torchvision(name.removeprefix(TORCHVISION))
    if is_images:
        return read_images(path, size=image_size, stream=stream, progress=progress)
    if path.suffix != ".npz":
        raise ValueError(
            "dataset must be 'digits', the path of an .npz file with arrays images and labels, a folder or a "
            f"tar of images with a folder a class, or 'torchvision:' and a name; found {name!r}"
        )
    return read_npz(path)
