"""The largest cut of a weighted graph."""

from __future__ import annotations

from collections.abc import Hashable
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.linalg import LinearOperator

from solvers import checks
from solvers.problems.cost import apply
from solvers.problems.elliptope import Elliptope
from solvers.problems.enclosures import row_sums_above
from solvers.problems.fixed import Fixed
from solvers.problems.foreign import as_plain, graph_weights
from solvers.problems.points import as_points


class Cut(NamedTuple):
    """A cut of a graph: its weight, and the vertices on either side, by label where the graph has labels."""

    weight: float
    first: tuple[Hashable, ...]
    second: tuple[Hashable, ...]


_ONE_SIDED = (
    "With each edge on one side of the diagonal, or as an arc, pass graph + graph.T; symmetrise(graph) would halve "
    "every edge"
)


class MaxCut(Fixed):
    r"""Maximise the weight of the edges cut, :math:`\tfrac14 w^T L w`, over :math:`w \in \{-1, 1\}^n`.

    Parameters
    ----------
    graph : (n, n) array_like or scipy sparse array
        Symmetric weights; negative ones are allowed.  The diagonal (self-loops) never counts in a cut and is
        dropped.

    Raises
    ------
    TypeError
        If the weights are not real numbers.
    ValueError
        If the graph is empty, not square, not symmetric or not finite.

    Notes
    -----
    The relaxation minimises :math:`\langle -L/4, Y\rangle`; a lower bound on it, negated, bounds every cut from
    above (Goemans and Williamson 1995).

    Examples
    --------
    >>> triangle = MaxCut([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    >>> triangle
    <MaxCut of 3 vertices and 3 edges>
    >>> float(triangle.evaluate([1, 1, -1]))
    2.0
    """

    FIXED = frozenset({"graph", "n"})

    def __init__(self, graph: Any) -> None:
        if isinstance(graph, LinearOperator):
            raise TypeError("graph must be an array of weights; found a LinearOperator")
        graph = as_plain("graph", graph)
        weights = sp.csr_array(
            checks.symmetric_sparse(
                "graph", graph if sp.issparse(graph) else _sparsified("graph", graph), _ONE_SIDED
            )
        )
        if weights.diagonal().any():
            weights.setdiag(0.0)
            weights.eliminate_zeros()
        self.graph = weights
        self.n = int(weights.shape[0])
        self.labels: tuple[Hashable, ...] | None = None

    def __repr__(self) -> str:
        return f"<MaxCut of {self.n} vertices and {self.graph.nnz // 2} edges>"

    @classmethod
    def from_networkx(cls, graph: Any, weight: str | None = "weight") -> MaxCut:
        """MaxCut of an undirected networkx graph, its node labels kept in `labels`.

        Parameters
        ----------
        graph : networkx.Graph or MultiGraph
            Parallel edges add up; self-loops never count.
        weight : str or None, optional
            The edge attribute that holds the weights; edges without it, and all edges for None, weigh 1.

        Raises
        ------
        TypeError
            If it is not a networkx graph, if it is directed, or if a weight is not a real number.
        ValueError
            If it has no nodes, or weights that are not finite.
        """
        weights, labels = graph_weights(graph, weight)
        problem = cls(weights)
        problem.labels = labels
        return problem

    def cut(self, signs: ArrayLike) -> Cut:
        """The cut of one point (n,): its weight and its two sides, by label where there are labels.

        Examples
        --------
        >>> MaxCut([[0, 2], [2, 0]]).cut([1, -1])
        Cut(weight=2.0, first=(0,), second=(1,))
        """
        point = as_points(signs, self.n)
        if point.ndim != 1:
            raise ValueError(f"signs must have shape ({self.n},) for one cut; found {point.shape}")
        labels = tuple(range(self.n)) if self.labels is None else self.labels
        sides = [
            tuple(label for label, s in zip(labels, point, strict=True) if s == side) for side in (1, -1)
        ]
        return Cut(float(self.evaluate(point)), sides[0], sides[1])

    def laplacian(self) -> sp.csr_array:
        """Diag(degree) - weights, in CSR form."""
        degree = np.asarray(self.graph.sum(axis=1)).ravel()
        return sp.csr_array(sp.diags_array(degree) - self.graph)

    def evaluate(self, signs: ArrayLike) -> NDArray[np.float64]:
        """Weight of the cut at one point (n,) or at each row of (..., n)."""
        points = as_points(signs, self.n)
        return np.asarray(0.25 * np.einsum("...i,...i->...", points, apply(self.laplacian(), points)))

    def relaxation(self) -> Elliptope:
        """Minimise -L/4 over the elliptope; values change sign to become cuts; built once."""
        return self._relaxation

    @cached_property
    def _relaxation(self) -> Elliptope:
        # degrees that round are rounded up: what bounds the cost from below then bounds every cut from above
        laplacian = sp.csr_array(sp.diags_array(row_sums_above(self.graph)) - self.graph)
        laplacian.data = checks.exact_multiple("graph", laplacian.data, -0.25)
        return Elliptope(laplacian, maximised=True)


def _sparsified(name: str, values: ArrayLike) -> sp.csr_array:
    array = checks.real_array(name, values, dimensions=2)
    if array.shape[0] != array.shape[1] and array.shape[1] in (2, 3):
        raise ValueError(
            f"{name} must be square; found shape {array.shape}. For a list of edges, "
            "networkx.Graph(edges), or a graph's add_weighted_edges_from(edges), goes into MaxCut.from_networkx"
        )
    return sp.csr_array(array)
