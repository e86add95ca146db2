"""How a run is computed: on what device, in which precision, compiled or not.  What is computed is the recipe's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from solvers import checks
from vispa.training.processes import Processes

PRECISIONS = ("float32", "bfloat16")


@contextmanager
def single_precision() -> Iterator[None]:
    """Make new parameters float32, as images are, whatever torch's default is outside."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@dataclass(frozen=True, eq=False)
class Execution:
    """Device and processes, precision, compilation.

    Attributes
    ----------
    processes : Processes
        From `vispa.training.processes.from_environment`; one process on the CPU by default.
    precision : {"float32", "bfloat16"}
        Of the forward pass in training, by autocast; parameters, sums and evaluation stay in float32.
    compile : bool
        Whether the forward pass in training goes through `torch.compile`.
    """

    processes: Processes = field(default_factory=lambda: Processes(torch.device("cpu")))
    precision: str = "float32"
    compile: bool = False

    def __post_init__(self) -> None:
        checks.choice("precision", self.precision, PRECISIONS)

    @property
    def device(self) -> torch.device:
        """Where this process computes."""
        return self.processes.device

    def training_forward(self, model: nn.Module) -> nn.Module:
        """Return the module to call in training: compiled, replicated, sharing the parameters of ``model``."""
        # Batches have two sizes that differ by one: two graphs with fixed shapes run faster than one without.
        compiled: nn.Module = torch.compile(model, dynamic=False) if self.compile else model  # type: ignore[assignment]
        return self.processes.wrap(compiled)

    def autocast(self) -> AbstractContextManager[None]:
        """Return the context of the forward pass in training."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    def mean(self, value: Tensor) -> float:
        """Mean over processes as a number."""
        return float(self.processes.mean(value.detach()))
