"""How a model is called on a batch, and which tensor it answered: tensors, keyword inputs, outputs with logits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

__all__ = [
    "Forward",
    "answer_of",
    "first_argument",
    "inputs_of",
    "moved",
    "outputs_of",
    "split_batch",
    "tensors_of",
]

Forward: TypeAlias = Callable[[nn.Module, Any], Tensor]


def answer_of(model: nn.Module, inputs: Any, forward: Forward | None = None) -> Any:
    """Return what a model answers to inputs: its logits where it names some, else its output as it is.

    Parameters
    ----------
    model : Module
    inputs : object
        The only argument, or the keyword arguments where it is a mapping.
    forward : callable, optional
        ``forward(model, inputs)``, whose result is returned as it is, for models that are called otherwise.
    """
    if forward is not None:
        return forward(model, inputs)
    output = model(**inputs) if isinstance(inputs, Mapping) else model(inputs)
    if isinstance(output, Tensor):
        return output
    logits = output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", None)
    return logits if isinstance(logits, Tensor) else output


def outputs_of(model: nn.Module, inputs: Any, forward: Forward | None = None) -> Tensor:
    """Return the tensor that a model answers to inputs, as `answer_of` finds it.

    Raises
    ------
    TypeError
        If there is no such tensor.
    """
    output = answer_of(model, inputs, forward)
    if not isinstance(output, Tensor):
        raise TypeError(
            f"model must return one tensor, or an output with logits; found {type(output).__name__}. Pass "
            "forward=, a function of the model and the inputs that returns the tensor"
        )
    return output


def split_batch(batch: Any, *, name: str) -> tuple[Any, Any]:
    """Return (inputs, targets) of a batch: a pair, or a mapping whose entry ``labels`` holds the targets.

    Raises
    ------
    ValueError
        If it is neither.
    """
    if isinstance(batch, Mapping) and "labels" in batch:
        return {key: values for key, values in batch.items() if key != "labels"}, batch["labels"]
    if isinstance(batch, (tuple, list)) and len(batch) == 2:
        return batch[0], batch[1]
    raise ValueError(
        f"{name} must hold pairs (inputs, targets), or mappings with an entry 'labels'; found a batch of type "
        f"{type(batch).__name__}"
    )


def inputs_of(batch: Any) -> Any:
    """Return the inputs of a batch with or without targets.

    Raises
    ------
    ValueError
        If it is an empty tuple or list.
    """
    if isinstance(batch, (tuple, list)) and not batch:
        raise ValueError(f"batches must hold inputs; found an empty {type(batch).__name__}")
    if isinstance(batch, Mapping):
        return {key: values for key, values in batch.items() if key != "labels"}
    return batch[0] if isinstance(batch, (tuple, list)) else batch


def moved(values: Any, device: torch.device) -> Any:
    """Return the values with all tensors among them on the device."""
    if isinstance(values, Tensor):
        return values.to(device)
    if isinstance(values, Mapping):
        return {key: moved(each, device) for key, each in values.items()}
    if type(values) in (tuple, list):
        return type(values)(moved(each, device) for each in values)
    return values


def first_argument(arguments: tuple[Any, ...], keywords: Mapping[str, Any]) -> Any:
    """Return what a hook of a layer is told of the layer's input, by its place or by its name."""
    return arguments[0] if arguments else next(iter(keywords.values()))


def tensors_of(values: Any) -> Iterator[Tensor]:
    """Yield the tensors among values, and among those of mappings, tuples and lists."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, (Mapping, tuple, list)):
        for each in values.values() if isinstance(values, Mapping) else values:
            yield from tensors_of(each)
