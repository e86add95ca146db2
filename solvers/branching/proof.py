"""A proof of optimality as JSON: the tree, and for each leaf the cuts, multipliers and dual vector that end it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvers.branching.records import TreeNode
from solvers.cuts.cliques import LARGEST
from solvers.cuts.tighten import Proof, scaled_cost
from solvers.problems.integer_form import IntegerForm, merged_weights
from solvers.whole_file import whole_file

FORMAT = "binary quadratic optimality, version 1"
# The dual vector is lowered by this share of its largest entry: room for a Cholesky factor in whole numbers.
MARGIN = 2e-9
# Binary digits after the point, relative to the unit of a leaf.
DIGITS = 40


def lost_in_writing(proof: Proof) -> float:
    """By how much less a written proof bounds, in units of its cost: the margin and the digits that are cut off."""
    entries = proof.dual.shape[0] + LARGEST * proof.multipliers.shape[0]
    return proof.dual.shape[0] * MARGIN * float(np.abs(proof.dual).max()) + math.ldexp(entries, 1 - DIGITS)


def write_proof(form: IntegerForm, signs: NDArray[np.int8], tree: tuple[TreeNode, ...], file: Path) -> None:
    """Write what `solvers.check_proof` reads."""
    ends = [node for node in tree if node.finished]
    if all(node.leaf is None for node in ends) and np.any(form.weights):
        raise ValueError("this search kept no proofs: call branch_and_bound(problem, proof=True)")
    children: dict[int, list[TreeNode]] = {}
    for node in tree:
        children.setdefault(node.parent, []).append(node)
    identity = np.arange(form.order)
    document_tree = _subtree(form, children[-1][0], children, identity, np.ones_like(identity))
    document = {
        "format": FORMAT,
        "problem_sha256": form.digest(),
        "signs": [1, *signs.tolist()] if form.extended else signs.tolist(),
        "tree": document_tree,
    }
    with whole_file(Path(file)) as beside:
        beside.write_text(json.dumps(document, separators=(",", ":")) + "\n")


def _subtree(
    form: IntegerForm,
    node: TreeNode,
    children: dict[int, list[TreeNode]],
    labels: NDArray[np.int64],
    flips: NDArray[np.int64],
) -> dict[str, Any]:
    if node.finished:
        return _leaf(form, node, labels, flips)
    parts: dict[str, Any] = {}
    for child in children[node.number]:
        parts["pair"] = [child.pair.first, child.pair.second]
        name = "equal" if child.pair.relation == 1 else "opposite"
        parts[name] = _subtree(form, child, children, *tie(labels, flips, *child.pair))
    return parts


def tie(
    labels: NDArray[np.int64], flips: NDArray[np.int64], first: int, second: int, relation: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Labels and flips once s_second = relation s_first, too."""
    kept, gone = int(labels[first]), int(labels[second])
    factor = relation * int(flips[first]) * int(flips[second])
    flips = np.where(labels == gone, factor * flips, flips)
    labels = np.where(labels == gone, kept, labels)
    return np.where(labels > gone, labels - 1, labels), flips


def _leaf(
    form: IntegerForm, node: TreeNode, labels: NDArray[np.int64], flips: NDArray[np.int64]
) -> dict[str, Any]:
    """Cuts over vertices of the whole problem, counted from 1, with their signs; numbers in units of 2^-digits."""
    order = int(labels.max()) + 1
    if node.leaf is None:
        return {"digits": 0, "dual": [0] * order, "cuts": [], "multipliers": []}
    weights, _ = merged_weights(form.weights, labels, flips)
    unit = scaled_cost(weights)[1]
    digits = max(0, DIGITS - math.frexp(unit)[1])
    cuts, proof = node.leaf
    firsts = np.array([int(np.flatnonzero(labels == label)[0]) for label in range(order)])
    lowered = proof.dual - MARGIN * float(np.abs(proof.dual).max())
    signed = cuts.signs * flips[firsts][cuts.vertices] * (firsts[cuts.vertices] + 1)
    return {
        "digits": digits,
        "dual": [math.floor(math.ldexp(entry, digits)) for entry in (unit * lowered).tolist()],
        "cuts": [[entry for entry in row if entry] for row in signed.tolist()],
        "multipliers": [
            math.floor(math.ldexp(entry, digits)) for entry in (unit * proof.multipliers).tolist()
        ],
    }
