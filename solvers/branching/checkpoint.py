"""A search on disk, to go on from: one file of arrays, written beside the old one and then put in its place."""

from __future__ import annotations

import json
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from solvers.branching.node import Node, Pair
from solvers.branching.records import Leaf, TreeMoment, TreeNode
from solvers.branching.tree import Tree
from solvers.cuts.cliques import CliqueCuts
from solvers.cuts.tighten import Proof
from solvers.whole_file import whole_file

FORMAT = 2
# What NumPy and zipfile raise for files that are cut off, damaged, or of another kind.
_UNREADABLE = (
    OSError, EOFError, KeyError, TypeError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error, struct.error,
)  # fmt: skip


def save(tree: Tree, path: Path, seconds: float) -> None:
    """Write the tree; pending nodes count as open.

    Raises
    ------
    OSError
        If the file cannot be written; one that was there stays as it was.
    """
    waiting = tree.waiting()
    header: dict[str, Any] = {
        **_settings(tree),
        "allowed": tree.allowed,
        "made": tree.made,
        "seconds": seconds,
        "history": [list(moment) for moment in tree.history],
        "bounded": [[*node[:2], list(node.pair), node.bound, node.finished] for node in tree.bounded],
        "leaves": [index for index, node in enumerate(tree.bounded) if node.leaf is not None],
        "open": len(waiting),
    }
    arrays: dict[str, Any] = {"header": np.array(json.dumps(header)), "point": tree.point}
    for index, node in enumerate(waiting):
        arrays |= {f"open{index}_{name}": value for name, value in node.to_arrays().items()}
    for index in header["leaves"]:
        leaf = tree.bounded[index].leaf
        assert leaf is not None
        arrays |= {f"leaf{index}_{name}": value for name, value in _leaf_arrays(leaf).items()}
    with whole_file(path) as beside, beside.open("wb") as stream:
        np.savez(stream, **arrays)


def load(tree: Tree, path: Path) -> float:
    """Put a saved search in the place of a new one; return the seconds it has taken so far.

    Raises
    ------
    ValueError
        If the file is not a checkpoint, or is of another problem or other settings.
    """
    try:
        with zipfile.ZipFile(path) as stored:
            arrays = {name.removesuffix(".npy"): _array(stored, name) for name in stored.namelist()}
        header = json.loads(str(arrays["header"]))
        found = {name: header[name] for name in _settings(tree)}
    except _UNREADABLE as error:
        raise ValueError(
            f"checkpoint must be a file that branch_and_bound wrote; found {path}: {error}"
        ) from error
    for name, value in _settings(tree).items():
        if found[name] != value:
            raise ValueError(
                f"checkpoint {path} is of another problem, other settings or another version ({name} differs): "
                "pass the same ones, or another file"
            )
    tree.allowed = header["allowed"]
    tree.point = arrays["point"]
    tree.best = tree.form.energy(tree.point)
    tree.made = header["made"]
    tree.history = [TreeMoment(*moment) for moment in header["history"]]
    leaves = set(header["leaves"])
    tree.bounded = [
        TreeNode(
            row[0], row[1], Pair(*row[2]), row[3], row[4], _leaf(arrays, index) if index in leaves else None
        )
        for index, row in enumerate(header["bounded"])
    ]
    tree.open.clear()
    for index in range(header["open"]):
        tree.push(Node.from_arrays(_fields(arrays, f"open{index}_")))
    return float(header["seconds"])


def _settings(tree: Tree) -> dict[str, Any]:
    """What must be as it was when the file was written."""
    return {
        "format": FORMAT,
        "digest": tree.form.digest(),
        "error": tree.form.error,
        "gap": tree.gap,
        "record": tree.record,
    }


def _array(stored: zipfile.ZipFile, name: str) -> Any:
    with stored.open(name) as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)


def _fields(arrays: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}


def _leaf_arrays(leaf: Leaf) -> dict[str, Any]:
    return {
        "vertices": leaf.cuts.vertices,
        "signs": leaf.cuts.signs,
        "bound": np.array(leaf.proof.bound),
        "dual": leaf.proof.dual,
        "multipliers": leaf.proof.multipliers,
    }


def _leaf(arrays: dict[str, Any], index: int) -> Leaf:
    found = _fields(arrays, f"leaf{index}_")
    proof = Proof(float(found["bound"]), found["dual"], found["multipliers"])
    return Leaf(CliqueCuts(found["vertices"], found["signs"]), proof)
