"""Refuse tensors that do not fit, in words that name the argument, what was found and what is allowed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from solvers import checks
from solvers.linalg.rank import default_rank

FLOATS = (torch.float32, torch.float64)


def real_tensor(name: str, values: Any, *, dimensions: int) -> Tensor:
    """Return ``values`` if it is a strided float32 or float64 tensor with so many dimensions, none of them empty.

    Raises
    ------
    TypeError
        If it is not a tensor, or holds anything but float32 or float64.
    ValueError
        If its shape or layout does not fit.

    Examples
    --------
    >>> real_tensor("costs", torch.zeros(2, 3), dimensions=2).shape
    torch.Size([2, 3])
    """
    if not isinstance(values, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor; found {type(values).__name__}")
    if values.dtype not in FLOATS:
        raise TypeError(f"{name} must be float32 or float64; found {values.dtype}")
    if values.layout is not torch.strided:
        raise ValueError(f"{name} must be a dense tensor; found layout {values.layout}")
    if values.dim() != dimensions:
        raise ValueError(f"{name} must have {dimensions} dimension(s); found shape {tuple(values.shape)}")
    if values.numel() == 0:
        raise ValueError(f"{name} must not be empty; found shape {tuple(values.shape)}")
    return values


def companion(name: str, values: Any, shape: tuple[int, ...], other: Tensor, other_name: str) -> Tensor:
    """Return ``values`` if it is a tensor of the given shape, with the dtype and on the device of another.

    Raises
    ------
    TypeError, ValueError
        As `real_tensor`, and where shape, dtype or device differ.
    """
    tensor = real_tensor(name, values, dimensions=len(shape))
    if tuple(tensor.shape) != shape:
        raise ValueError(f"{name} must have shape {shape}; found {tuple(tensor.shape)}")
    if tensor.dtype != other.dtype:
        raise TypeError(f"{name} must have the dtype of {other_name}, {other.dtype}; found {tensor.dtype}")
    if tensor.device != other.device:
        raise ValueError(
            f"{name} must be on the device of {other_name}, {other.device}; found {tensor.device}"
        )
    return tensor


def unit_rows(name: str, rows: Tensor) -> Tensor:
    """Rows along the last dimension divided by their lengths, however large or small those are.

    Raises
    ------
    ValueError
        If a row is zero, or not finite.

    Examples
    --------
    >>> unit_rows("start", torch.tensor([[3e-30, 4e-30]]))
    tensor([[0.6000, 0.8000]])
    """
    largest = rows.abs().amax(dim=-1, keepdim=True)
    if not bool(((largest > 0) & torch.isfinite(largest)).all()):
        raise ValueError(f"{name} must hold finite rows, none of them zero")
    # the squares of entries near one neither overflow nor vanish
    near_one = rows / largest
    return near_one / torch.linalg.vector_norm(near_one, dim=-1, keepdim=True)


# Matrices looked at together.
_PIECE_ENTRIES = 2**24


def refuse_triangles(name: str, matrices: Tensor) -> None:
    """Refuse matrices (..., n, n) of which one holds entries on one side of its diagonal alone.

    Only the symmetric part counts, which is half of what a graph given by one triangle means.

    Raises
    ------
    ValueError
        With the doors for a graph and for a quadratic form.
    """
    whole = matrices.detach().reshape(-1, *matrices.shape[-2:])
    for piece in whole.split(max(1, _PIECE_ENTRIES // max(1, whole.shape[-1] ** 2))):
        below, above = (part.count_nonzero(dim=(1, 2)) > 0 for part in (piece.tril(-1), piece.triu(1)))
        if bool((below != above).any()):
            raise ValueError(
                f"{name} must be symmetric; found a triangle, entries on one side of the diagonal alone. Pass "
                "(A + A.mT) / 2 of a quadratic form, and A + A.mT of a graph given by one triangle"
            )


def checked_device(name: str, device: Any) -> torch.device:
    """Return the device, if torch can use it here.

    Raises
    ------
    ValueError
        If it is no device, or none that this machine and this build of torch have.
    """
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        raise ValueError(
            f"{name} must be one that torch can use here, such as 'cpu' or 'cuda'; found {device!r}"
        ) from error
    return found


def checked_generator(name: str, generator: Any, device: torch.device) -> torch.Generator:
    """Return the generator, or a freshly seeded one on the device; global random state is left alone.

    Raises
    ------
    TypeError, ValueError
        If it is no torch.Generator, or lives on another kind of device.
    """
    if generator is None:
        fresh = torch.Generator(device)
        fresh.seed()
        return fresh
    if not isinstance(generator, torch.Generator):
        raise TypeError(f"{name} must be a torch.Generator or None; found {type(generator).__name__}")
    if generator.device.type != device.type:
        raise ValueError(f"{name} must be on {device.type}; found one on {generator.device}")
    return generator


def checked_width(rank: int | None, start: Any, order: int) -> int:
    """Columns of the factors: those of ``start`` (three dimensions), or ``rank``, or the default for the order."""
    if start is None:
        return default_rank(order) if rank is None else checks.integer("rank", rank, minimum=1, maximum=order)
    if rank is not None:
        raise ValueError("start already fixes the rank; pass rank or start, not both")
    return int(real_tensor("start", start, dimensions=3).shape[2])
