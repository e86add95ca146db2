"""Whether tensors are numbers in the processor's memory, and nobody records or transforms what is done to them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["eager"]


def eager(values: tuple[Any, ...]) -> bool:
    """Whether a loop may take these values past torch's operators.

    Compilers, exporters, tracers, counters of operations and function transforms have to see operators instead.
    """
    for value in values:
        if type(value) is not Tensor or not value.is_cpu:
            return False
    return not (
        torch.compiler.is_compiling()
        # dispatch modes: make_fx, fake tensors, counters
        or torch._C._len_torch_dispatch_stack()
        # vmap, grad and others of torch.func
        or torch._C._are_functorch_transforms_active()
        or torch._C._get_tracing_state() is not None
    )
