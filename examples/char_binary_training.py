"""Train a small GPT whose blocks are binary from the start, by vispa, ste and bop, with the same tuning for each.

``python -m examples.char_binary_training TEXT --output FOLDER``; an interrupted run goes on from the folder.  Every
method has as many trials, short, under a seed that no report uses and judged by a part of the training text; the
best is then trained at full length under each seed.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import nn

import vispa
from examples.gpt import GPT
from examples.text_data import Text, read_text, validation_loss
from examples.text_training import train, warm_cosine
from vispa.optim.groups import OptimizerGroup, Stepping

# What is tried: Adam's learning rate, or the rate of bop's running mean beside Adam at the float network's.  The
# third of vispa has rows on a sphere four times as large, which is as if steps were a quarter as long for binary
# weights alone: 0.088 is Xavier's standard deviation for 128 inputs and outputs.
TRIALS: dict[str, tuple[dict[str, float], ...]] = {
    "vispa": ({"rate": 1e-3}, {"rate": 3e-3}, {"rate": 3e-3, "radius": 0.088}),
    "ste": ({"rate": 1e-3}, {"rate": 3e-3}, {"rate": 1e-2}),
    "bop": ({"rate": 1e-3}, {"rate": 1e-2}, {"rate": 1e-1}),
}
RANK, REAL_RATE, TUNING_SEED = 4, 2e-3, 100
DRAWN = 10


def made(
    characters: int, method: str, settings: dict[str, float], steps: int
) -> tuple[nn.Module, Stepping, Stepping, int]:
    """A network with binary blocks, its optimizer and schedule, and its context."""
    model = GPT(characters)
    options: dict[str, Any] = dict(settings)
    rate = options.pop("rate")
    if method == "vispa":
        options["rank"] = RANK
    vispa.binarize(model, layers=["blocks"], method=method, start="fresh", **options)
    if method != "bop":
        optimizer = vispa.attach(torch.optim.Adam(model.parameters(), lr=rate), model)
        return model, optimizer, warm_cosine(optimizer, steps), model.context
    signs, real = vispa.split_parameters(model)
    flips, adam = vispa.Bop(signs, threshold=1e-8, gamma=rate), torch.optim.Adam(real, lr=REAL_RATE)
    falling = vispa.OptionSchedule(flips, gamma=vispa.LinearSchedule(0.01 * rate, steps=steps))
    return (
        model,
        OptimizerGroup(flips, adam),
        OptimizerGroup(falling, warm_cosine(adam, steps)),
        model.context,
    )


def run(
    text: Text,
    folder: Path,
    method: str,
    settings: dict[str, float],
    *,
    steps: int,
    batch: int,
    seed: int,
    windows: int | None,
) -> dict[str, Any]:
    """Validation losses of one network, sgn(mean), and of the mean logits of ten draws, after training."""
    torch.manual_seed(seed)
    model, optimizer, schedule, context = made(len(text.characters), method, settings, steps)
    seconds = train(
        model,
        text,
        optimizer,
        schedule,
        steps=steps,
        context=context,
        batch=batch,
        seed=seed,
        checkpoint=folder / f"{'_'.join(map(str, [method, *settings.values(), steps, seed]))}.pt",
    )
    loss = validation_loss(vispa.harden(model), text.validation, context, limit=windows)
    found = {"method": method, **settings, "steps": steps, "seed": seed, "seconds": seconds, "loss": loss}
    if method == "vispa":
        found["ensemble"] = validation_loss(_Ensemble(model), text.validation, context, limit=windows)
    return found


class _Ensemble(nn.Module):
    """Mean logits of drawn networks."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return vispa.ensemble(self.model, tokens, samples=DRAWN)


def tuning_text(text: Text) -> Text:
    """The training text alone, its last tenth to judge by."""
    border = int(0.9 * len(text.training))
    return Text(text.training[:border], text.training[border:], text.characters)


def best_settings(found: dict[str, dict[str, Any]], method: str) -> dict[str, float]:
    """The settings whose trial has the lowest validation loss; an infinite or undefined one is no trial."""
    numbers = [number for number in range(len(TRIALS[method])) if f"trial {number}, {method}" in found]
    return TRIALS[method][
        min(numbers, key=lambda number: _finite(found[f"trial {number}, {method}"]["loss"]))
    ]


def _finite(loss: float) -> float:
    return loss if math.isfinite(loss) else math.inf


def main() -> None:
    """Train what is missing, and keep every result as it comes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("text", type=Path, help="any text file of a megabyte or so")
    parser.add_argument("--output", type=Path, default=Path("output/char_transformer"))
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--trial-steps", type=int, default=250)
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--methods", nargs="+", choices=tuple(TRIALS), default=tuple(TRIALS))
    parser.add_argument("--windows", type=int, default=None, help="windows to judge by; all held out")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    text, path = read_text(args.text), args.output / "binary_training.json"
    found: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}
    trials = max(len(TRIALS[method]) for method in args.methods)
    work = [(f"trial {number}", method, number) for number in range(trials) for method in args.methods]
    work += [(f"seed {seed}", method, seed) for seed in range(args.seeds) for method in args.methods]
    for kind, method, number in work:
        name = f"{kind}, {method}"
        if name in found:
            continue
        trial = kind.startswith("trial")
        found[name] = run(
            tuning_text(text) if trial else text,
            args.output,
            method,
            TRIALS[method][number] if trial else best_settings(found, method),
            steps=args.trial_steps if trial else args.steps,
            batch=args.batch,
            seed=TUNING_SEED if trial else number,
            windows=args.windows,
        )
        path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        print(name, found[name], flush=True)


if __name__ == "__main__":
    main()
