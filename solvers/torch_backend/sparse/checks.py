"""Refuse sparse input that does not fit: types, devices, ranges, self-loops, asymmetry."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from solvers import checks
from solvers.torch_backend.common.checks import FLOATS, real_tensor

INTEGERS = (torch.int32, torch.int64)
# So that pointers and indices fit into 32 bits, with room for the kernels to look past a row's end.
MAX_ENTRIES = 2**31 - 2**12
# Entries looked at in one go, which bounds the memory a check takes.
CHUNK = 2**26
# Of the Frobenius norm, times the dtype's rounding: how far x^T C z may be from z^T C x.
ASYMMETRY = 8.0


def check_csr(pointers: Any, indices: Any, values: Any) -> tuple[Tensor, Tensor]:
    """Return pointers and indices as int32, if the three describe a square matrix without a diagonal.

    Raises
    ------
    TypeError, ValueError
        Naming what was found.
    """
    for name, tensor in (("pointers", pointers), ("indices", indices)):
        _check_integers(name, tensor, 1)
    if not isinstance(values, Tensor) or values.dtype not in FLOATS:
        found = values.dtype if isinstance(values, Tensor) else type(values).__name__
        raise TypeError(f"values must be a float32 or float64 tensor; found {found}")
    for name, tensor in (("pointers", pointers), ("indices", indices)):
        _check_device(name, tensor, "values", values)
    if pointers.shape[0] < 2:
        raise ValueError("pointers must have at least 2 entries: the problem must not be empty")
    if values.shape != indices.shape:
        raise ValueError(f"values must have shape {tuple(indices.shape)}; found {tuple(values.shape)}")
    if indices.shape[0] > MAX_ENTRIES:
        raise ValueError(f"indices must have at most {MAX_ENTRIES} entries; found {indices.shape[0]}")
    ends = int(pointers[0]), int(pointers[-1])
    if ends != (0, indices.shape[0]) or bool((pointers.diff() < 0).any()):
        raise ValueError(f"pointers must rise from 0 to {indices.shape[0]}; found {ends[0]} to {ends[1]}")
    if indices.shape[0]:
        _check_range("indices", indices, pointers.shape[0] - 1)
        if not bool(torch.isfinite(values).all()):
            raise ValueError("values must be finite; found NaN or infinite entries")
    return pointers.int().contiguous(), indices.int().contiguous()


def check_symmetry(pointers: Tensor, indices: Tensor, values: Tensor) -> None:
    """Refuse a diagonal, and a matrix with x^T C z != z^T C x for two vectors fixed once and for all.

    Raises
    ------
    ValueError
    """
    order, device = pointers.shape[0] - 1, values.device
    left, right = (_fixed_vector(order, device, seed) for seed in (1, 2))
    difference, squares, largest = 0.0, 0.0, 0.0
    # scaled, so that float64 holds the squares of anything
    scale = float(values.abs().amax()) if values.numel() else 0.0
    if scale == 0.0:
        scale = 1.0
    for first in range(0, indices.shape[0], CHUNK):
        columns = indices[first : first + CHUNK].long()
        here = torch.arange(first, first + columns.shape[0], device=device, dtype=pointers.dtype)
        rows = torch.searchsorted(pointers, here, right=True) - 1
        if bool((rows == columns).any()):
            vertex = int(rows[rows == columns][0])
            raise ValueError(f"indices must leave out the diagonal; found an entry in row {vertex}")
        weights = values[first : first + CHUNK].double() / scale
        terms = weights * (left[rows] * right[columns] - right[rows] * left[columns])
        difference += float(terms.sum())
        squares += float(weights.square().sum())
        largest = max(largest, float(weights.abs().amax()))
    if abs(difference) > ASYMMETRY * torch.finfo(values.dtype).eps * max(squares, 1.0) ** 0.5:
        raise ValueError(
            "the matrix must be symmetric; x^T C z and z^T C x differ. Store both mirror images of every entry"
        )


def checked_edges(edges: Any, weights: Any, order: Any) -> tuple[Tensor, Tensor, int]:
    """Return edges, weights and the number of vertices, if they fit.

    Raises
    ------
    TypeError, ValueError
    """
    _check_integers("edges", edges, 2)
    if edges.shape[0] != 2:
        raise ValueError(f"edges must have shape (2, m); found {tuple(edges.shape)}")
    if order is None:
        if edges.shape[1] == 0:
            raise ValueError("edges must not be empty where order is not given")
        order = int(edges.max()) + 1
    order = checks.integer("order", order, minimum=1, maximum=MAX_ENTRIES - 1)
    if edges.shape[1] == 0:
        found = torch.zeros(0, device=edges.device) if weights is None else weights
        return edges, found, order
    _check_range("edges", edges, order)
    if weights is None:
        weights = torch.ones(edges.shape[1], device=edges.device)
    weights = real_tensor("weights", weights, dimensions=1).detach()
    _check_device("weights", weights, "edges", edges)
    if weights.shape[0] != edges.shape[1]:
        raise ValueError(f"weights must have length {edges.shape[1]}; found {weights.shape[0]}")
    loops = edges[0] == edges[1]
    if bool(loops.any()):
        vertex = int(edges[0][loops][0])
        raise ValueError(f"edges must join two vertices; found a self-loop at {vertex}")
    return edges, weights, order


def _fixed_vector(order: int, device: torch.device, seed: int) -> Tensor:
    return torch.randn(
        order, dtype=torch.float64, device=device, generator=torch.Generator(device).manual_seed(seed)
    )


def _check_integers(name: str, tensor: Any, dimensions: int) -> None:
    if not isinstance(tensor, Tensor) or tensor.dtype not in INTEGERS:
        found = tensor.dtype if isinstance(tensor, Tensor) else type(tensor).__name__
        raise TypeError(f"{name} must be an int32 or int64 tensor; found {found}")
    if tensor.layout is not torch.strided or tensor.dim() != dimensions:
        raise ValueError(f"{name} must have {dimensions} dimension(s); found shape {tuple(tensor.shape)}")


def _check_device(name: str, tensor: Tensor, other_name: str, other: Tensor) -> None:
    if tensor.device != other.device:
        raise ValueError(
            f"{name} must be on the device of {other_name}, {other.device}; found {tensor.device}"
        )


def _check_range(name: str, tensor: Tensor, order: int) -> None:
    smallest, largest = int(tensor.amin()), int(tensor.amax())
    if smallest < 0 or largest >= order:
        raise ValueError(f"{name} must lie in 0..{order - 1}; found {smallest}..{largest}")
