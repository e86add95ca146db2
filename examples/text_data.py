"""Characters of a text file as integers: nine tenths to train on, the rest to judge by."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class Text(NamedTuple):
    """Character numbers to train on and to judge by, and the characters themselves."""

    training: Tensor
    validation: Tensor
    characters: str


def read_text(path: Path, *, held_out: float = 0.1) -> Text:
    """The file's characters, the last tenth held out."""
    text = path.read_text(encoding="utf-8")
    characters = "".join(sorted(set(text)))
    number = {character: index for index, character in enumerate(characters)}
    tokens = torch.tensor([number[character] for character in text])
    border = int((1.0 - held_out) * len(tokens))
    return Text(tokens[:border], tokens[border:], characters)


def windows(tokens: Tensor, context: int, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Inputs (count, context) from random places, and the characters that follow each."""
    starts = torch.randint(len(tokens) - context, (count,), generator=generator)
    places = starts[:, None] + torch.arange(context + 1)
    drawn = tokens[places]
    return drawn[:, :-1], drawn[:, 1:]


@torch.no_grad()
def validation_loss(
    model: torch.nn.Module, tokens: Tensor, context: int, *, limit: int | None = None
) -> float:
    """Mean negative log-likelihood of a character over consecutive windows, in nats."""
    whole = tokens[: (len(tokens) - 1) // context * context + 1]
    inputs, targets = whole[:-1].view(-1, context), whole[1:].view(-1, context)
    inputs, targets = inputs[:limit], targets[:limit]
    total = 0.0
    training = model.training
    model.eval()
    for rows in torch.arange(len(inputs)).split(64):
        logits = model(inputs[rows])
        total += float(F.cross_entropy(logits.flatten(0, 1), targets[rows].flatten(), reduction="sum"))
    model.train(training)
    return total / targets.numel()
