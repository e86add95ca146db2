"""Which file belongs to which class and part, by its path alone."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
TRAINING = "train"
TESTS = ("test", "val")


class Layout(NamedTuple):
    """Names of the files, those of the test part last, their labels, and where that part begins if there is one."""

    names: list[str]
    labels: NDArray[np.int64]
    classes: list[str]
    test_from: int | None


def arrange(names: list[str], source: Path) -> Layout:
    """Sort files into classes and parts.

    Raises
    ------
    ValueError
        Naming ``source``: there is no image, a file lies in no folder of a class, or the parts have other
        classes.

    Examples
    --------
    >>> found = arrange(["test/b/0.png", "train/a/0.png", "train/b/0.png", "test/a/0.png"], Path("pets"))
    >>> found.names, found.labels.tolist(), found.test_from
    (['train/a/0.png', 'train/b/0.png', 'test/a/0.png', 'test/b/0.png'], [0, 1, 0, 1], 2)
    """
    if not names:
        raise ValueError(f"{source} holds no image (by extension: {', '.join(EXTENSIONS)})")
    paths = {name: name.split("/") for name in sorted(names)}
    depth = _common_depth(list(paths.values()))
    tops = {path[depth] for path in paths.values()}
    test = _test_part(tops, source)
    at = depth if test is None else depth + 1  # where the class stands in the path
    for name, path in paths.items():
        if len(path) < at + 2:
            raise ValueError(f"{source}: {name} lies in no folder of a class")
    ordered = sorted(paths, key=lambda name: (paths[name][depth] == test, name))
    classes = sorted({path[at] for path in paths.values()})
    number = {name: label for label, name in enumerate(classes)}
    labels = np.array([number[paths[name][at]] for name in ordered], dtype=np.int64)
    if test is None:
        return Layout(ordered, labels, classes, None)
    test_from = sum(path[depth] != test for path in paths.values())
    missing = set(range(len(classes))) - set(labels[:test_from].tolist())
    if missing:
        raise ValueError(f"{source}: class {classes[min(missing)]!r} of {test} is missing from {TRAINING}")
    return Layout(ordered, labels, classes, test_from)


def _common_depth(paths: list[list[str]]) -> int:
    """Number of leading folders that all files share: a tar often holds one folder that holds everything."""
    depth = 0
    shortest = min(len(path) for path in paths) - 1
    while depth < shortest and len({path[depth] for path in paths}) == 1 and paths[0][depth] != TRAINING:
        depth += 1
    return depth


def _test_part(tops: set[str], source: Path) -> str | None:
    if TRAINING not in tops:
        return None
    others = tops - {TRAINING}
    if len(others) != 1 or not others <= set(TESTS):
        raise ValueError(
            f"{source} has {TRAINING} beside {', '.join(sorted(others)) or 'nothing'}; allowed are "
            f"{TRAINING} and {' or '.join(TESTS)}, or the folders of the classes alone"
        )
    return others.pop()
