"""The state of a float network, out of what people keep it in, with the remedy where it is wrapped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from vispa.nn.weights.binary_weight import BinaryWeight

__all__ = ["float_state"]

# What wrappers put before every name, and what a checkpoint calls the state of the network in it.
PREFIXES = {"module.": "DistributedDataParallel", "_orig_mod.": "torch.compile", "model.": "a trainer"}
NESTED = ("state_dict", "model_state_dict", "model", "module", "net", "network")


def float_state(source: object, expected: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the state of a float network, given as a module or as a mapping of names to tensors.

    Parameters
    ----------
    source : Module or mapping of str to Tensor
    expected : mapping
        The names that the network should have, by which a prefix or a checkpoint around it is recognised.

    Raises
    ------
    TypeError
        If ``source`` is neither, or a wrapped module.
    ValueError
        If it is binarized, a checkpoint that holds the state, or its names carry the prefix of a wrapper.
    """
    if isinstance(source, nn.Module):
        _refuse_wrapper(source)
        if any(isinstance(module, BinaryWeight) for module in source.modules()):
            raise ValueError("source must be a float network; found one that is binarized itself")
        return source.state_dict()
    if not isinstance(source, Mapping):
        raise TypeError(
            f"source must be a torch.nn.Module or a mapping of names to tensors; found {type(source).__name__}"
        )
    for key in NESTED:
        if isinstance(source.get(key), Mapping) and key not in expected:
            raise ValueError(
                f"source must be the state of the network; found a checkpoint that holds it: pass source[{key!r}]"
            )
    for prefix, wrapper in PREFIXES.items():
        stripped = {name.removeprefix(prefix) for name in source if isinstance(name, str)}
        carries = any(isinstance(name, str) and name.startswith(prefix) for name in source)
        if carries and not set(source) & set(expected) and stripped & set(expected):
            raise ValueError(
                f"source must have the names of the network before binarize; found names that start with "
                f"{prefix!r}, from {wrapper}: pass {{name.removeprefix({prefix!r}): values for name, values in "
                "source.items()}"
            )
    if not any(isinstance(values, Tensor) for values in source.values()):
        raise TypeError("source must map names to tensors; found no tensor in it")
    return source


def _refuse_wrapper(source: nn.Module) -> None:
    for attribute in ("_orig_mod", "module"):
        inside = getattr(source, attribute, None)
        if isinstance(inside, nn.Module) and type(source).__module__.startswith("torch."):
            raise TypeError(
                f"source must be the network itself; found {type(source).__name__} around it: pass "
                f"source.{attribute}"
            )
