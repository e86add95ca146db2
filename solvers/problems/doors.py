"""Where an object should go that was handed to the wrong call."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

import scipy.sparse as sp

# By the package that defines an object's class and the classes it descends from: the call that takes it.
_BY_CLASS: dict[tuple[str, str], str] = {
    ("networkx", "Graph"): "Use MaxCut.from_networkx(graph)",
    ("igraph", "Graph"): "Use MaxCut.from_networkx(graph.to_networkx())",
    ("dimod", "BinaryQuadraticModel"): "Use BinaryQuadratic.from_bqm(bqm)",
    ("dimod", "ConstrainedQuadraticModel"): (
        "dimod.cqm_to_bqm(cqm)[0] makes penalties of its constraints, then BinaryQuadratic.from_bqm(bqm)"
    ),
    ("dimod", "QuadraticModel"): (
        "Where all its variables are bits or spins, a dimod.BinaryQuadraticModel of its biases goes into "
        "BinaryQuadratic.from_bqm(bqm)"
    ),
    ("dimod", "BinaryPolynomial"): (
        "dimod.make_quadratic(poly, strength, vartype) makes it quadratic, then BinaryQuadratic.from_bqm(bqm)"
    ),
    ("cvxpy", "Problem"): "Use problem.solve(solver=vispa.LowRankSolver())",
    (
        "torch",
        "Module",
    ): "Use vispa.binarize(model) to train it, vispa.binarize_trained(model, data) after training",
}
_MATRIX = (
    "Wrap a matrix C as Elliptope(C) for <C, Y> over Y, as BinaryQuadratic(C) for a form in signs, as "
    "BinaryQuadratic.from_qubo(C) for one in bits, as MaxCut(C) for the weights of a graph"
)


def door(value: Any) -> str | None:
    """Return the sentence that says which call takes an object of this class; None where none is known."""
    for each in type(value).__mro__:
        if found := _BY_CLASS.get((each.__module__.split(".")[0], each.__name__)):
            return found
    if isinstance(value, (str, PathLike)):
        return "Use solvers.read_problem(path) for a file"
    if is_mapping(value):
        return "Use BinaryQuadratic.from_qubo(Q) or from_ising(J, h) for a mapping of pairs"
    return None


def is_mapping(value: Any) -> bool:
    """Whether an object maps keys to values; SciPy's matrices by dictionary are matrices."""
    return isinstance(value, Mapping) and not sp.issparse(value)


def problem_door(value: Any) -> str:
    """Return which call makes a problem of an object, or takes it instead."""
    if (found := door(value)) is not None:
        return found
    if isinstance(value, (list, tuple)) and value and all(hasattr(each, "relaxation") for each in value):
        return "Use vispa.solve_many(problems) for several"
    if callable(value) and not hasattr(value, "shape"):
        return "Use vispa.minimize(loss, n) for a function of signs"
    return _MATRIX


def kind(value: Any) -> str:
    """Return an object's class with the package that it is from, for messages."""
    package = type(value).__module__.split(".")[0]
    return type(value).__name__ if package in ("builtins", "solvers") else f"{package} {type(value).__name__}"
