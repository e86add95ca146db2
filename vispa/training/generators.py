"""State of torch's default generators: the CPU's, and the device's where it has one of its own."""

from __future__ import annotations

import torch
from torch import Tensor


def capture(device: torch.device) -> dict[str, Tensor]:
    """Return the states, to be kept in a checkpoint."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def restore(states: dict[str, Tensor], device: torch.device) -> None:
    """Set the states; one that was captured on another kind of device is passed over."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)


def own_devices(device: torch.device) -> list[torch.device]:
    """Return what `torch.random.fork_rng` must be told to fork beside the CPU's generator."""
    return [device] if device.type == "cuda" else []
