"""Work on a device, and what to say when its memory runs out: how much was wanted, and what to lower."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch

GIBIBYTE = 2**30
# By torch's processor allocator, and by the libraries behind it on a GPU.
SAID = ("not enough memory", "ALLOC_FAILED")


@contextmanager
def working_on(estimate: float, device: torch.device, advice: str) -> Iterator[None]:
    """Turn an out-of-memory error inside the block into a MemoryError with the estimate and the advice.

    A CUDA device is the current one inside the block: Triton launches its kernels there, wherever the tensors are.

    Parameters
    ----------
    estimate : float
        Bytes that the block needs beside what the caller holds already.
    device : torch.device
    advice : str
        What to lower, as the end of a sentence.

    Raises
    ------
    MemoryError

    Examples
    --------
    >>> with working_on(3 * 2**30, torch.device("cpu"), "solve fewer problems at once"):
    ...     raise MemoryError
    Traceback (most recent call last):
    ...
    MemoryError: out of memory on cpu: about 3 GiB are needed; solve fewer problems at once
    """
    try:
        with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
            yield
    except (MemoryError, torch.OutOfMemoryError, RuntimeError) as error:
        if not ran_out_of_memory(error):
            raise
        raise MemoryError(
            f"out of memory on {device}: about {estimate / GIBIBYTE:.2g} GiB are needed; {advice}"
        ) from error


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether this is torch's or Python's way of saying so; not all have a type of their own."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in SAID)
    )
