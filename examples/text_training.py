"""Train a GPT on characters for a number of steps, with checkpoints that an interrupted run goes on from."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from examples.text_data import Text, validation_loss, windows

WARM_UP = 100
# Of the highest learning rate, where the cosine ends.
FLOOR = 0.05
EVERY = 250


def train(
    model: nn.Module,
    text: Text,
    optimizer: torch.optim.Optimizer,
    *,
    steps: int,
    context: int,
    batch: int,
    seed: int,
    checkpoint: Path | None = None,
    after_step: Callable[[], None] = lambda: None,
) -> float:
    """Seconds of training, those before an interrupt counted too."""
    generator = torch.Generator().manual_seed(seed)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _share(step, steps))
    first, spent = 0, 0.0
    if checkpoint is not None and checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        generator.set_state(state["generator"])
        torch.set_rng_state(state["default_generator"])
        first, spent = state["step"], state["seconds"]
    began = time.perf_counter()
    model.train()
    bar = tqdm(range(first, steps), initial=first, total=steps, disable=None)
    for step in bar:
        inputs, targets = windows(text.training, context, batch, generator)
        loss = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        after_step()
        if checkpoint is not None and (step + 1) % EVERY == 0:
            seconds = spent + time.perf_counter() - began
            torch.save(
                {
                    "model": model.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "schedule": schedule.state_dict(),
                    "generator": generator.get_state(),
                    "default_generator": torch.get_rng_state(),
                    "step": step + 1,
                    "seconds": seconds,
                },
                checkpoint,
            )
            bar.set_postfix(loss=f"{validation_loss(model, text.validation, context, limit=128):.3f}")
    return spent + time.perf_counter() - began


def _share(step: int, steps: int) -> float:
    """Of the highest learning rate: a linear warm-up, then a cosine."""
    if step < WARM_UP:
        return (step + 1) / WARM_UP
    along = (step - WARM_UP) / max(steps - WARM_UP, 1)
    return FLOOR + (1.0 - FLOOR) * 0.5 * (1.0 + math.cos(math.pi * min(along, 1.0)))
