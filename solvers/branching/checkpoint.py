"""A search on disk, to go on from: one file of arrays, written beside the old one and then put in its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from solvers.branching.node import Node, Pair
from solvers.branching.records import Leaf, TreeMoment, TreeNode
from solvers.branching.tree import Tree
from solvers.cuts.cliques import CliqueCuts
from solvers.cuts.tighten import Proof

FORMAT = 1


def save(tree: Tree, path: Path, seconds: float) -> None:
    """Write the tree; pending nodes count as open."""
    waiting = [node for _, _, node in sorted(tree.open, key=lambda entry: entry[:2])]
    waiting += [tree.pending[number] for number in sorted(tree.pending)]
    header: dict[str, Any] = {
        "format": FORMAT,
        "digest": tree.form.digest(),
        "allowed": tree.allowed,
        "record": tree.record,
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
    written = path.with_name(path.name + ".writing")
    with written.open("wb") as stream:
        np.savez(stream, **arrays)
    written.replace(path)


def load(tree: Tree, path: Path) -> float:
    """Put a saved search in the place of a new one; return the seconds it has taken so far.

    Raises
    ------
    ValueError
        If the file is not a checkpoint, or is of another problem or other settings.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = dict(stored)
        header = json.loads(str(arrays["header"]))
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(
            f"checkpoint must be a file that branch_and_bound wrote; found {path}: {error}"
        ) from error
    found = {name: header[name] for name in ("format", "digest", "allowed", "record")}
    wanted = {"format": FORMAT, "digest": tree.form.digest(), "allowed": tree.allowed, "record": tree.record}
    for name, value in wanted.items():
        if found[name] != value:
            raise ValueError(
                f"checkpoint {path} is of another problem or other settings ({name} differs): "
                "pass the same ones, or another file"
            )
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
