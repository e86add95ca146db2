"""How much memory a huge sparse problem takes, and whether it is there: better said before than after an hour."""

from __future__ import annotations

import os

import torch

from solvers.torch_backend.common.memory import GIBIBYTE
from solvers.torch_backend.sparse.cost import SparseCost

# While the rows are coloured: masks, counts and priorities.
COLOURING_BYTES_A_ROW = 50
COLOURING_BYTES_AN_ENTRY = 10
# The Lanczos recurrence and the multipliers.
VECTORS = 8


def bytes_needed(cost: SparseCost, rank: int) -> int:
    """Bytes at the peak of a solve that stays at this rank, beside the cost itself.

    Examples
    --------
    >>> bytes_needed(SparseCost(torch.tensor([0, 0]), torch.tensor([]).int(), torch.tensor([])), 16)
    172
    """
    size = cost.values.element_size()
    layout = cost.entries * (size + 4) + 12 * cost.order
    colouring = COLOURING_BYTES_A_ROW * cost.order + COLOURING_BYTES_AN_ENTRY * cost.entries
    # the factor, and its copy in the original order
    solving = cost.order * size * (2 * rank + VECTORS)
    return layout + max(colouring, solving)


def check_room(needed: int, device: torch.device) -> None:
    """Refuse what cannot fit.

    Raises
    ------
    MemoryError
    """
    free = free_bytes(device)
    if needed > free:
        raise MemoryError(
            f"about {needed / GIBIBYTE:.3g} GiB are needed beside the cost, and {device} has {free / GIBIBYTE:.3g} "
            "GiB free; lower rank, or use float32 values"
        )


def free_bytes(device: torch.device) -> int:
    """Bytes that can still be had on the device."""
    if device.type == "cuda":
        reserved = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0] + reserved)
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
