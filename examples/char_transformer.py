"""Train a small GPT on the characters of a text, make it binary after training by every method, and compare.

``python -m examples.char_transformer TEXT --output FOLDER``; an interrupted run goes on from the folder.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import torch

import vispa
from examples.gpt import GPT
from examples.text_data import Text, read_text, validation_loss, windows
from examples.text_training import train, warm_cosine

METHODS = ("sgn-mean", "sgn", "gptq", "gptq-descent", "vispa")
LEARNING_RATE, WEIGHT_DECAY = 2e-3, 0.1


def trained(text: Text, folder: Path, steps: int, batch: int, seed: int) -> tuple[GPT, float]:
    """A float network, from the folder where it has been trained before, and its processor seconds of training."""
    torch.manual_seed(seed)
    model = GPT(len(text.characters))
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    finished = folder / f"float_{steps}_{seed}.pt"
    if finished.exists():
        state = torch.load(finished, weights_only=True)
        model.load_state_dict(state["model"])
        return model.eval(), state["seconds"]
    seconds = train(
        model,
        text,
        optimizer,
        warm_cosine(optimizer, steps),
        steps=steps,
        context=model.context,
        batch=batch,
        seed=seed,
        checkpoint=folder / f"checkpoint_{steps}_{seed}.pt",
    )
    torch.save({"model": model.state_dict(), "seconds": seconds}, finished)
    return model.eval(), seconds


def compared(model: GPT, text: Text, folder: Path, args: argparse.Namespace) -> list[dict[str, object]]:
    """A row for the float network and one for each method and grouping; losses in nats a character."""
    generator = torch.Generator().manual_seed(args.seed)
    calibration = [
        windows(text.training, model.context, args.calibration, generator)[0] for _ in range(args.batches)
    ]

    def loss(network: torch.nn.Module) -> float:
        return validation_loss(network, text.validation, model.context, limit=args.windows)

    bits = 32 * sum(values.numel() for values in model.parameters())
    rows: list[dict[str, object]] = [_row("float", None, loss(model), bits, 0.0)]
    for group in args.groups:
        for method in args.methods:
            binary, report = vispa.binarize_trained(
                model,
                calibration,
                layers=["blocks"],
                method=method,
                group=group or None,
                effort=args.effort,
                workers=args.workers,
                checkpoint=folder / f"binary_{args.steps}_{args.seed}_{method}_{group}.pt",
            )
            rows.append(_row(method, group or None, loss(binary), report.bits, report.seconds))
            (folder / "results.json").write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
            print(table(rows[-1:]), flush=True)
    return rows


def _row(method: str, group: int | None, loss: float, bits: int, seconds: float) -> dict[str, object]:
    return {
        "method": method,
        "group": group,
        "loss": loss,
        "perplexity": math.exp(loss),
        "megabytes": bits / 8e6,
        "seconds": seconds,
    }


def table(rows: list[dict[str, object]]) -> str:
    """Rows as Markdown."""
    return "\n".join(
        "| "
        + " | ".join(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values())
        + " |"
        for row in rows
    )


def main() -> None:
    """Train, or go on training, and print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", type=Path, help="any text file of a megabyte or so")
    parser.add_argument("--output", type=Path, default=Path("output/char_transformer"))
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument(
        "--groups", nargs="+", type=int, default=(0, 128), help="inputs that share a scale; 0: all"
    )
    parser.add_argument("--effort", type=float, default=1.0)
    parser.add_argument("--workers", type=int, default=None, help="threads; one a processor")
    parser.add_argument("--calibration", type=int, default=16, help="windows in a batch of calibration")
    parser.add_argument("--batches", type=int, default=4, help="batches of calibration")
    parser.add_argument(
        "--windows", type=int, default=None, help="windows to judge by; all that are held out"
    )
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    text = read_text(args.text)
    model, seconds = trained(text, args.output, args.steps, args.batch, args.seed)
    count = sum(values.numel() for values in model.parameters())
    print(f"{count:,} parameters, {seconds:.0f} processor seconds of training")
    rows = compared(model, text, args.output, args)
    print("| method | group | loss | perplexity | MB | seconds |\n|---|---|---|---|---|---|")
    print(table(rows))


if __name__ == "__main__":
    main()
