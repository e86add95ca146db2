"""Train a GPT on characters for a number of steps, with checkpoints that an interrupted run goes on from."""

from __future__ import annotations

import math
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from examples.text_data import Text, validation_loss, windows
from vispa.optim.groups import Stepping

# Steps of warming up, and the share of short runs.
WARM_UP, WARMING = 100, 0.1
# Of the highest learning rate, where the cosine ends.
FLOOR = 0.05
EVERY = 250


def train(
    model: nn.Module,
    text: Text,
    optimizer: Stepping,
    schedule: Stepping,
    *,
    steps: int,
    context: int,
    batch: int,
    seed: int,
    checkpoint: Path | None = None,
) -> float:
    """Processor seconds of training, those before an interrupt counted too."""
    generator = torch.Generator().manual_seed(seed)
    first, spent = 0, 0.0
    if checkpoint is not None and checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        generator.set_state(state["generator"])
        torch.set_rng_state(state["default_generator"])
        first, spent = state["step"], state["seconds"]
    began = time.process_time()
    model.train()
    bar = tqdm(range(first, steps), initial=first, total=steps, disable=None)
    for step in bar:
        inputs, targets = windows(text.training, context, batch, generator)
        loss = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
        model.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if checkpoint is not None and (step + 1) % EVERY == 0:
            seconds = spent + time.process_time() - began
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
    return spent + time.process_time() - began


def warm_cosine(optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LambdaLR:
    """A schedule of the learning rate: a linear warm-up, then a cosine."""
    warm_up = min(WARM_UP, max(int(WARMING * steps), 1))

    def share(step: int) -> float:
        if step < warm_up:
            return (step + 1) / warm_up
        along = (step - warm_up) / max(steps - warm_up, 1)
        return FLOOR + (1.0 - FLOOR) * 0.5 * (1.0 + math.cos(math.pi * min(along, 1.0)))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, share)
