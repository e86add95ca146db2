"""The layers of a network that are binary already, on disk: a call that was broken off goes on from there."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from solvers import checks
from vispa.quantization.layer_step import Step
from vispa.quantization.network_report import LayerLoss
from vispa.training import checkpoint


class SavedSteps:
    """The layers done so far in a file, or nowhere.

    Parameters
    ----------
    path : Path or None
    signature : dict, optional
        Of the work; a file of other work is refused.

    Raises
    ------
    ValueError
        If the file is of another network, method or setting, is damaged, or has no folder to lie in.
    """

    def __init__(self, path: Path | None, signature: dict[str, Any] | None = None) -> None:
        self._path, self._signature = path, signature or {}
        self._steps: dict[str, Any] = {}
        if path is None:
            return
        checks.file_to_write("checkpoint", path)
        if path.exists():
            try:
                self._steps = checkpoint.load(path, self._signature)
            except ValueError as error:
                raise ValueError(f"checkpoint must be of this network and these settings: {error}") from error

    def get(self, name: str) -> Step | None:
        """A layer's step, where it was done before."""
        found = self._steps.get(name)
        return None if found is None else Step(found["weight"], found["bias"], LayerLoss(**found["loss"]))

    def put(self, name: str, step: Step) -> None:
        """Keep a layer's step; the file is whole at any moment."""
        self._steps[name] = {"weight": step.weight, "bias": step.bias, "loss": asdict(step.loss)}
        if self._path is not None:
            checkpoint.save(self._path, self._signature, self._steps)
