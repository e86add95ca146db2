"""Scopes of noise: one draw for every forward of one module."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from vispa.nn.weights.root_scope import Noise, RootScope, in_backward

__all__ = ["Noise", "ScopedNoise"]


class ScopedNoise(nn.Module):
    """Noise that is drawn when the forward of a scope starts and dropped when it ends.

    Every read in between, and the recomputation of gradient checkpointing when it runs the scope again, see
    one and the same noise. A scope is the layer itself, or a module around it that reads the weight without
    calling the layer, or in whose forward several calls are to share one draw; the outermost one counts.
    Around all of them stands the model that was binarized (`RootScope`): in one of its forwards every scope
    binds the same noise, and a read outside any scope sees it too.
    """

    def __init__(self) -> None:
        super().__init__()
        self.noise: Noise | None = None
        self.sample_in_evaluation = False
        self.depth = 0
        self.has_outer_scope = False
        # What reads in a scope gave, by whether gradients were recorded: (parameter, result).
        self.kept: dict[bool, tuple[Tensor, Tensor]] = {}
        self.handles: tuple[RemovableHandle, ...] = ()
        self.root: RootScope | None = None
        # Noise of the root's forwards whose backward may still recompute something: (which forward, noise).
        self.drawn: list[tuple[int, Noise]] = []
        self.is_read_uncalled = False

    def draw(self) -> Noise | None:
        """Draw fresh noise from torch's default generator; None where there is none to draw."""
        return None

    @property
    def samples(self) -> bool:
        """Whether reads are samples now: in training, and in evaluation on request."""
        return self.training or self.sample_in_evaluation

    @property
    def keeps_reads(self) -> bool:
        """Whether reads are repeated, as in a scope around the layer, and bound to one sample.

        What is not bound is not kept, so that a checkpointed region in a scope recomputes all that it read.
        """
        return self.has_outer_scope and self.noise is not None and not torch.compiler.is_compiling()

    def current_noise(self) -> Noise | None:
        """Return the noise bound to the scope, or for a read outside any, that of the forward around it.

        A compiled layer without a scope around it draws afresh.
        """
        if self.noise is not None or not self.samples:
            return self.noise
        if torch.compiler.is_compiling():
            return self.draw()
        if self.depth == 0 and self.root is not None and self._is_in_forward(self.root):
            self.is_read_uncalled = True
            return self.root.bind(self)
        return None

    def _is_in_forward(self, root: RootScope) -> bool:
        return root.depth > 0 or (self.is_read_uncalled and in_backward())

    def open_layer(self, layer: nn.Module) -> None:
        """Let every call of the layer that is not inside a scope draw its own noise."""
        self._register(layer, self.begin_layer, self.end_layer)

    def open_scope(self, scope: nn.Module) -> None:
        """Let every forward of ``scope`` draw once for all that reads the weight in it."""
        self.has_outer_scope = True
        self._register(scope, self.begin_scope, self.end_scope)

    def _register(self, module: nn.Module, begin: Callable[..., None], end: Callable[..., None]) -> None:
        self.handles += (
            module.register_forward_pre_hook(begin),
            module.register_forward_hook(end, always_call=True),
        )

    @contextmanager
    def hold(self, noise: Noise | None) -> Iterator[None]:
        """Let every read within the block see this noise, in training and in evaluation alike."""
        self.depth += 1
        before, self.noise = self.noise, noise
        self.kept.clear()
        try:
            yield
        finally:
            self.noise = before
            self.depth -= 1
            self.kept.clear()

    def close_scopes(self) -> None:
        """Remove the hooks, those of the root too."""
        for handle in self.handles:
            handle.remove()
        self.handles = ()
        if self.root is not None:
            self.root.close()

    def enter(self) -> None:
        """Do what is due when a scope is entered from outside any."""

    def begin_layer(self, layer: nn.Module, inputs: Any) -> None:
        """Forward pre-hook of the layer."""
        # A checkpointed region inside a compiled one may not write attributes, so the layer's hooks stand
        # aside there: `current_noise` draws where the weight is read.
        if torch.compiler.is_compiling():
            return
        if self.has_outer_scope and self.depth == 0 and self.samples and in_backward():
            raise RuntimeError(
                "a binary layer that shares its noise with a module around it is recomputed outside that "
                "module, so its noise is lost: let the checkpointed region call the module whose forward is "
                "the scope (of tied weights, the nearest module that holds all of them)"
            )
        self.begin_scope(layer, inputs)

    def end_layer(self, layer: nn.Module, inputs: Any, output: Any) -> None:
        """Forward hook of the layer, called after failures too."""
        if not torch.compiler.is_compiling():
            self.end_scope(layer, inputs, output)

    def begin_scope(self, scope: nn.Module, inputs: Any) -> None:
        """Forward pre-hook of a scope around the layer."""
        self.depth += 1
        if self.depth == 1:
            self.enter()
        if self.depth == 1 and self.samples:
            if self.root is None or torch.compiler.is_compiling():
                self.noise = self.draw()
            else:
                self.noise = self.root.bind(self)

    def end_scope(self, scope: nn.Module, inputs: Any, output: Any) -> None:
        """Forward hook of a scope around the layer, called after failures too."""
        self.depth = max(self.depth - 1, 0)
        if self.depth == 0:
            self.noise = None
            if not torch.compiler.is_compiling():
                self.kept.clear()
