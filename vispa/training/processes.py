"""One process, or several that train one network together, each on its share of every batch.

Every process draws the same noise and the same augmentation, and takes its slice of the batch, so the number of
processes changes nothing but the rounding of sums, and the statistics of BatchNorm, which are of a slice.  A
run may therefore go on, from its checkpoint, with another number of processes.
"""

from __future__ import annotations

import datetime
import os
from typing import TypeVar

import torch
from torch import Tensor, nn

from solvers import checks

T = TypeVar("T")

# Longest wait for another process; a process that dies is noticed at once, one that is stuck after this time.
PATIENCE = datetime.timedelta(minutes=10)


class Processes:
    """A single process: every operation returns what it was given.

    Parameters
    ----------
    device : torch.device
        Where this process computes.
    """

    rank = 0
    count = 1

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def share_of(self, total: int) -> slice:
        """Rows of a batch of ``total`` that belong to this process: contiguous, sizes differ by one at most."""
        return slice(self.rank * total // self.count, (self.rank + 1) * total // self.count)

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return the module whose forward is to be called in training."""
        return model

    def backward(self, loss: Tensor) -> None:
        """Leave in every parameter the gradient of the mean of all processes' losses."""
        loss.backward()

    def sum(self, value: Tensor) -> Tensor:
        """Return the sum over processes."""
        return value

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean over processes."""
        return self.sum(value) / self.count

    def any(self, flag: bool) -> bool:
        """Say whether the flag is up in some process."""
        return flag

    def from_first(self, value: T) -> T:
        """Return what the first process holds."""
        return value

    def share_buffers(self, model: nn.Module) -> None:
        """Give every process the buffers of the first."""


class FabricProcesses(Processes):
    """Several processes with one replica each (DistributedDataParallel), set up by Lightning Fabric.

    Parameters
    ----------
    accelerator : {"cpu", "cuda"}
        ``"cuda"`` gives each process of a host its own device.
    per_host, hosts : int
        As the launcher started them.

    Raises
    ------
    ImportError
        If Lightning Fabric is not installed.
    """

    def __init__(self, accelerator: str, *, per_host: int, hosts: int) -> None:
        try:
            from lightning_fabric import Fabric
            from lightning_fabric.strategies import DDPStrategy
        except ImportError as error:
            raise ImportError(
                "several processes need Lightning Fabric; install the extra `distributed`"
            ) from error
        self._fabric = Fabric(
            accelerator=accelerator,
            devices=per_host,
            num_nodes=hosts,
            strategy=DDPStrategy(timeout=PATIENCE),
        )
        self._fabric.launch()
        super().__init__(self._fabric.device)
        self.rank, self.count = self._fabric.global_rank, self._fabric.world_size

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return the replica whose backward averages gradients over processes."""
        wrapped: nn.Module = self._fabric.setup_module(model)
        return wrapped

    def backward(self, loss: Tensor) -> None:
        """Leave in every parameter the gradient of the mean of all processes' losses."""
        self._fabric.backward(loss)

    def sum(self, value: Tensor) -> Tensor:
        """Return the sum over processes."""
        total = value.detach().clone()
        torch.distributed.all_reduce(total)  # Fabric's own waits at a barrier first
        return total

    def any(self, flag: bool) -> bool:
        """Say whether the flag is up in some process."""
        raised = torch.tensor(int(flag), device=self.device)
        torch.distributed.all_reduce(raised)
        return bool(raised)

    def from_first(self, value: T) -> T:
        """Return what the first process holds; it is pickled."""
        return self._fabric.broadcast(value)

    def share_buffers(self, model: nn.Module) -> None:
        """Give every process the buffers of the first."""
        for buffer in model.buffers():
            torch.distributed.broadcast(buffer, src=0)


def from_environment(device: str = "cpu") -> Processes:
    """Return the processes that a launcher such as torchrun describes in the environment; one without it.

    Parameters
    ----------
    device : str, optional
        ``"cpu"``, ``"cuda"``, or for one process ``"cuda:1"`` and the like.

    Raises
    ------
    ValueError
        If the device is not known or not there, or one device is named for several processes.
    ImportError
        If there are several processes and Lightning Fabric is not installed.

    Examples
    --------
    >>> from_environment().count
    1
    """
    chosen = checked_device(device)
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return Processes(chosen)
    if chosen.index is not None:
        raise ValueError(f"device must be cpu or cuda for several processes; found {device!r}")
    per_host = int(os.environ.get("LOCAL_WORLD_SIZE", str(count)))
    return FabricProcesses(chosen.type, per_host=per_host, hosts=count // per_host)


def checked_device(device: str) -> torch.device:
    """Return the device, if torch can compute there now."""
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device must be cpu, cuda or cuda:N; found {device!r}") from error
    checks.choice("device", chosen.type, ("cpu", "cuda"))
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device {device!r} is not here; torch sees {torch.cuda.device_count()} CUDA device(s)"
        )
    return chosen
