"""What users hold when they arrive: torch tensors, networkx graphs, dimod models."""

from __future__ import annotations

import math
import numbers
from collections.abc import Hashable
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from solvers import checks
from solvers.problems.doors import door, kind


class Labelled(NamedTuple):
    """A quadratic form in signs whose variables have names."""

    A: sp.csr_array
    b: NDArray[np.float64]
    constant: float
    labels: tuple[Hashable, ...]


def as_plain(name: str, values: Any) -> Any:
    """A torch tensor as a NumPy or SciPy array on the processor; anything else that NumPy knows as it is.

    Raises
    ------
    TypeError
        For objects that have a door of their own, naming it.
    """
    if (other := door(values)) is not None:
        raise TypeError(f"{name} must be an array; found a {kind(values)}. {other}")
    tensor = checks.plain_tensor(name, values)
    if not hasattr(tensor, "detach") or not hasattr(tensor, "layout"):
        return tensor
    if tensor.dim() != 2:
        raise ValueError(f"{name} must have 2 dimensions; found shape {tuple(tensor.shape)}")
    # Not coalesced by torch, which would add up repeated integers in their own type.
    coo = tensor if str(tensor.layout) == "torch.sparse_coo" else tensor.to_sparse_coo()
    rows, columns = coo._indices().numpy()
    data = coo._values().numpy().astype(np.float64)
    return sp.coo_array((data, (rows, columns)), shape=tuple(tensor.shape))


def graph_weights(graph: Any, weight: str | None) -> tuple[sp.csr_array, tuple[Hashable, ...]]:
    """Symmetric weights and node labels of an undirected networkx graph; parallel edges add up.

    Raises
    ------
    TypeError
        If it is not a networkx graph, or a directed one, or a weight is not a real number.
    ValueError
        If it has no nodes, a weight is not finite, or no edge has the attribute that was asked for.
    """
    if not (hasattr(graph, "is_directed") and hasattr(graph, "nodes") and hasattr(graph, "edges")):
        other = door(graph) or "Use MaxCut(weights) for a matrix of weights"
        raise TypeError(f"graph must be a networkx graph; found {kind(graph)}. {other}")
    if graph.is_directed():
        raise TypeError(
            "graph must be undirected; found a directed one. With its matrix A, MaxCut(A + A.T) cuts every arc, "
            "and graph.to_undirected() keeps one edge a pair"
        )
    labels = tuple(graph.nodes)
    if not labels:
        raise ValueError("graph must have nodes; found none")
    place = {label: i for i, label in enumerate(labels)}
    _check_attribute(graph, weight)
    edges = [
        (place[u], place[v], 1.0 if weight is None else _weight((u, v), data.get(weight, 1.0)))
        for u, v, data in graph.edges(data=True)
        if u != v
    ]
    rows, columns, values = (np.array([edge[k] for edge in edges]) for k in range(3))
    n = len(labels)
    if not edges:
        return sp.csr_array((n, n), dtype=np.float64), labels
    upper = sp.coo_array((values.astype(np.float64), (rows, columns)), shape=(n, n)).tocsr()
    return sp.csr_array(upper + upper.T), labels


def _check_attribute(graph: Any, weight: str | None) -> None:
    """Refuse a name that no edge has; only the usual one may be missing everywhere, in graphs without weights."""
    names: dict[Hashable, None] = {}
    for _, _, data in graph.edges(data=True):
        if weight is None or weight == "weight" or weight in data:
            return
        names.update(dict.fromkeys(data))
    if graph.number_of_edges():
        found = ", ".join(map(repr, names)) or "none"
        raise ValueError(
            f"weight must be an attribute of edges; found {weight!r}, which no edge has (they have: {found}). "
            "Pass weight=None to count edges"
        )


def _weight(edge: tuple[Hashable, Hashable], value: Any) -> float:
    shown = repr(value)
    what = f"found {shown if len(shown) < 60 else shown[:50] + '...'} at edge {edge!r}"
    if not isinstance(value, numbers.Real):
        raise TypeError(f"graph must have finite real numbers as weights; {what}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"graph must have finite real numbers of float64 as weights; {what}")
    if isinstance(value, numbers.Integral) and int(value) != number:
        raise ValueError(
            f"graph must have weights that float64 can represent; {what}. Pass floats if they may be rounded"
        )
    return number


def bqm_form(bqm: Any) -> Labelled:
    """The quadratic form in signs of a dimod BinaryQuadraticModel of either kind.

    Raises
    ------
    TypeError
        If it is not a binary quadratic model.
    ValueError
        If it has no variables.
    """
    if not (hasattr(bqm, "to_numpy_vectors") and hasattr(bqm, "change_vartype")):
        other = door(bqm) or "Use BinaryQuadratic(A) or BinaryQuadratic.from_qubo(Q) for a matrix"
        raise TypeError(f"bqm must be a dimod BinaryQuadraticModel; found {kind(bqm)}. {other}")
    if bqm.num_variables == 0:
        raise ValueError("bqm must have variables; found none")
    spins = bqm.change_vartype("SPIN", inplace=False)
    order = tuple(spins.variables)
    vectors = spins.to_numpy_vectors(variable_order=order)
    linear = np.array(vectors.linear_biases, dtype=np.float64)
    rows, columns, biases = vectors.quadratic
    n = linear.shape[0]
    half = sp.coo_array((0.5 * np.asarray(biases, dtype=np.float64), (rows, columns)), shape=(n, n)).tocsr()
    return Labelled(sp.csr_array(half + half.T), linear, float(vectors.offset), order)
