"""Sparse costs from the edges of a graph."""

from __future__ import annotations

import torch
from torch import Tensor

from solvers.torch_backend.sparse.checks import checked_edges
from solvers.torch_backend.sparse.cost import SparseCost, fitted, row_pointers, row_sums


def edge_cost(edges: Tensor, weights: Tensor | None = None, *, order: int | None = None) -> SparseCost:
    r"""The cost with C_ij = C_ji = w for each edge {i, j}, so that <C, Y> = 2 sum_ij w_ij Y_ij.

    Parameters
    ----------
    edges : (2, m) int32 or int64 Tensor
        Each edge once, in either order; edges repeated in the same order add up.
    weights : (m,) float32 or float64 Tensor, optional
        One each in float32 by default.
    order : int, optional
        Number of vertices; by default just enough for the edges.

    Returns
    -------
    SparseCost
        On the device of the edges.

    Raises
    ------
    TypeError, ValueError
        For arguments that do not fit, a self-loop, and an edge listed in both orders.

    Notes
    -----
    Sorts the edges: O(m log m) time, about 50 m bytes beside the result.

    Examples
    --------
    >>> edge_cost(torch.tensor([[0, 1], [1, 2]])).pointers.tolist()
    [0, 1, 3, 4]
    """
    edges, weights, order = checked_edges(edges, weights, order)
    ahead = edges[0].long() * order + edges[1]
    back = edges[1].long() * order + edges[0]
    keys, slots = torch.unique(torch.cat([ahead, back]), sorted=True, return_inverse=True)
    if bool(torch.isin(torch.unique(ahead), back).any()):
        raise ValueError(
            "edges must list each edge once; found one in both orders. Keep those with edges[0] < edges[1]"
        )
    # at most a few terms add up in a slot, in float64, so that their order does not show
    sums = torch.zeros(keys.shape[0], dtype=torch.float64, device=edges.device)
    sums.index_add_(0, slots, torch.cat([weights, weights]).double())
    rows = torch.div(keys, order, rounding_mode="floor")
    values, _, exponent = fitted(sums, None, weights.dtype)
    return SparseCost(row_pointers(rows, order), (keys - rows * order).int(), values, exponent=exponent)


def cut_cost(edges: Tensor, weights: Tensor | None = None, *, order: int | None = None) -> SparseCost:
    """The cost -L/4 of a graph: its minimum is minus an upper bound on every cut, as in `solvers.MaxCut`.

    Parameters
    ----------
    edges, weights, order
        As for `edge_cost`.

    Returns
    -------
    SparseCost

    Raises
    ------
    TypeError, ValueError
        As `edge_cost`.

    Examples
    --------
    >>> cut_cost(torch.tensor([[0, 1], [1, 2]])).diagonal.tolist()
    [-0.25, -0.5, -0.25]
    """
    graph = edge_cost(edges, weights, order=order)
    degrees = row_sums(graph.pointers, graph.values)
    values, diagonal, exponent = fitted(graph.values.double(), -degrees, graph.dtype, graph.exponent - 2)
    return SparseCost(graph.pointers, graph.indices, values, diagonal, maximised=True, exponent=exponent)
