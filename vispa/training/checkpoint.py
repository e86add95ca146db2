"""Checkpoints that survive a crash, load no code, and refuse to continue somebody else's run."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from solvers.whole_file import write_whole

MAGIC = b"vispa checkpoint 1\n"
HEADER_BYTES = len(MAGIC) + hashlib.sha256().digest_size


def save(path: str | Path, settings: dict[str, Any], state: dict[str, Any]) -> None:
    """Write atomically: after a crash the path holds either the previous checkpoint or this one, whole.

    The bytes go to a temporary file beside it, reach the disk (fsync), and take the name by ``os.replace``.
    A SHA-256 digest in front finds any damage later.

    Parameters
    ----------
    path : path
        Its folder must exist.
    settings : dict
        What defines the run; `load` compares it.
    state : dict
        Tensors, numbers, strings, and lists and dicts of them: what ``weights_only=True`` can load.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    path = Path(path)
    buffer = io.BytesIO()
    torch.save({"settings": settings, "state": state}, buffer)
    payload = buffer.getvalue()
    write_whole(path, MAGIC + hashlib.sha256(payload).digest() + payload)
    _sync_folder(path.parent)


def load(path: str | Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the state saved at ``path`` by a run with the same ``settings``.

    Raises
    ------
    ValueError
        Naming the file: it is no checkpoint of this library, it is damaged, or it belongs to another run; the
        first setting that differs is named.
    OSError
        If the file cannot be read.
    """
    content = Path(path).read_bytes()
    if not content.startswith(MAGIC):
        raise ValueError(f"{path} is not a vispa checkpoint; choose another path, or move the file away")
    payload = content[HEADER_BYTES:]
    if hashlib.sha256(payload).digest() != content[len(MAGIC) : HEADER_BYTES]:
        raise ValueError(f"{path} is damaged: its digest does not match; delete it to start the run afresh")
    saved = torch.load(io.BytesIO(payload), weights_only=True)
    for name in sorted(settings.keys() | saved["settings"].keys()):
        found, expected = saved["settings"].get(name), settings.get(name)
        if found != expected:
            raise ValueError(
                f"{path} belongs to another run: its {name} is {found!r}, this run's is {expected!r}; "
                "choose another path"
            )
    state: dict[str, Any] = saved["state"]
    return state


def digest(network: nn.Module) -> str:
    """Describe what a network computes, by the bytes of its state."""
    found = hashlib.sha256()
    for name, values in network.state_dict().items():
        found.update(name.encode())
        if isinstance(values, Tensor):
            # as bytes: NumPy has no bfloat16
            found.update(values.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where the platform lets a folder be opened."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
