"""Models whose code changes the model: what they keep between calls is no part of a graph."""

from __future__ import annotations

from typing import Any

from torch import nn

__all__ = ["CONSTANTS", "Attributes"]

# How torch.fx calls what it puts into a model itself.
CONSTANTS = "_tensor_constant"

# Where a module keeps tensors and modules, beside its own attributes.
_TABLES = ("_parameters", "_buffers", "_modules")


class Attributes:
    """All attributes of a model and its modules, as they were, to be compared and put back.

    Examples
    --------
    >>> model = nn.Linear(2, 2)
    >>> before = Attributes(model)
    >>> model.calls = 1
    >>> before.put_back(), before.put_back(), hasattr(model, "calls")
    (True, False, False)
    """

    def __init__(self, model: nn.Module) -> None:
        self._held = [(module, _copies(module)) for module in model.modules()]

    def put_back(self) -> bool:
        """Return whether an attribute was another object, and give all their own again."""
        changed = False
        for module, tables in self._held:
            for own, before in zip(_tables(module), tables, strict=True):
                names = {name for name in own if not name.startswith(CONSTANTS)}
                if names != before.keys() or any(own[name] is not before[name] for name in before):
                    changed = True
                    own.clear()
                    own.update(before)
        return changed


def _tables(module: nn.Module) -> list[dict[str, Any]]:
    return [module.__dict__, *(module.__dict__[name] for name in _TABLES)]


def _copies(module: nn.Module) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in table.items() if not name.startswith(CONSTANTS)}
        for table in _tables(module)
    ]
