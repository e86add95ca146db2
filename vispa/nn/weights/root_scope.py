"""One draw a weight in every forward of the model that was binarized, and in what recomputes that forward."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

__all__ = ["Noise", "RootScope", "in_backward"]

Noise: TypeAlias = Tensor | tuple[Tensor, ...]


class DrawsNoise(Protocol):
    """What a root scope asks of a weight: a draw, and a list of the draws that may be needed again."""

    drawn: list[tuple[int, Noise]]

    def draw(self) -> Noise | None:
        """Draw fresh noise; None where there is none to draw."""


class RootScope:
    """What the weights of one model share: whether its forward runs, and which forward that is.

    A module that is called twice in a forward, or whose weight is read without calling it, sees one sample
    of its weight. Gradient checkpointing recomputes parts of a forward after it has ended; they find the
    noise of that forward again. Every call draws, whether its draw is used or not, so that a recomputation,
    which restores the generator, leaves it to dropout as the forward did.
    """

    def __init__(self) -> None:
        self.depth = 0
        self.forward = 0
        # Forwards up to this one have had their backward, as far as can be told.
        self.consumed = 0
        self.recomputed = False
        self.drawing: list[DrawsNoise] = []
        self.handles: tuple[RemovableHandle, ...] = ()

    def open(self, root: nn.Module) -> None:
        """Let every forward of ``root`` be one forward of all the weights that share this scope."""
        self.handles = (
            root.register_forward_pre_hook(self.begin),
            root.register_forward_hook(self.end, always_call=True),
        )

    def close(self) -> None:
        """Remove the hooks."""
        for handle in self.handles:
            handle.remove()
        self.handles = ()

    def begin(self, root: nn.Module, inputs: Any) -> None:
        """Forward pre-hook of the root; a compiled region cannot keep count, so it stands aside there."""
        if torch.compiler.is_compiling():
            return
        self.depth += 1
        if self.depth == 1:
            if self.recomputed:
                self.consumed, self.recomputed = self.forward, False
            self.forward += 1

    def end(self, root: nn.Module, inputs: Any, output: Any) -> None:
        """Forward hook of the root, called after failures too."""
        if torch.compiler.is_compiling():
            return
        self.depth = max(self.depth - 1, 0)
        if self.depth > 0:
            return
        for weight in self.drawing:
            # Without gradients nothing is recomputed, and what vmap wraps must not outlive it.
            if not torch.is_grad_enabled() or _is_wrapped(weight.drawn[-1][1]):
                weight.drawn.pop()
        self.drawing.clear()

    def bind(self, weight: DrawsNoise) -> Noise | None:
        """Return the noise of a call or a read of the weight: fresh, or that of the forward it belongs to.

        Raises
        ------
        RuntimeError
            If a recomputation belongs to one of several forwards and cannot tell to which.
        """
        fresh = weight.draw()
        if fresh is None:
            return None
        if self.depth > 0:
            if not weight.drawn or weight.drawn[-1][0] != self.forward:
                weight.drawn = [(count, noise) for count, noise in weight.drawn if count > self.consumed]
                weight.drawn.append((self.forward, fresh))
                self.drawing.append(weight)
            return weight.drawn[-1][1]
        if in_backward():
            return self._of_the_recomputed_forward(weight, fresh)
        return fresh

    def _of_the_recomputed_forward(self, weight: DrawsNoise, fresh: Noise) -> Noise:
        kept = [noise for count, noise in weight.drawn if count > self.consumed]
        if not kept:
            return fresh
        self.recomputed = True
        if len(kept) == 1:
            return kept[0]
        for noise in kept:
            if _equal(noise, fresh):
                return noise
        raise RuntimeError(
            "a checkpointed binary layer is recomputed after several forwards, and its noise is none of theirs: "
            "run the backward of each forward before the next forward, or checkpoint with "
            "preserve_rng_state=True and call each binary module once in a forward"
        )


def in_backward() -> bool:
    """Say whether autograd is running a backward pass now, as when a checkpoint recomputes a region."""
    graph_task: int = torch._C._current_graph_task_id()
    return graph_task != -1


def _parts(noise: Noise) -> tuple[Tensor, ...]:
    return (noise,) if isinstance(noise, Tensor) else noise


def _equal(first: Noise, second: Noise) -> bool:
    return all(torch.equal(a, b) for a, b in zip(_parts(first), _parts(second), strict=True))


def _is_wrapped(noise: Noise) -> bool:
    return any(torch._C._functorch.is_functorch_wrapped_tensor(part) for part in _parts(noise))
