"""Time a whole training step of every method on ResNet-18 beside plain straight-through, in one interleaved run.

    python -m benchmarks.networks.methods_step_time --date 2026-11-28

A step is forward, backward with the method's penalty, fused SGD with momentum and the projection, in the middle of
training. One thread, processor time; a ratio is the median over rounds of a method's time over that of plain
straight-through in the same round.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
# Why a method may cost more than 1.1 times plain straight-through.
REASONS = {
    "rbnn": "rotations of all rows in each step; its SVDs come once an annealing and are not timed",
    "bernoulli": "a normal number a weight",
    "bayesbinn": "a uniform number, two logarithms and two tanhs a weight",
    "vispa": "a factor of K = 4 columns: its gradient, its steps and its projection",
    "adaste": "a gradient of cases, a dozen passes over the weights",
    "bop": "its flips, by an optimizer that is not fused",
    "pmf": "two scores a weight, and their steps",
    "xnor": "weights centred and clipped in place, and a gradient through their scale",
    "irnet": "rows standardised, and a gradient through that",
    "rebnn": "a penalty on the distance of every weight from its sign",
    "biper": "a sine and a cosine a weight, and a penalty of them",
    "reste": "a power a weight",
    "recu": "rows standardised, and a quantile",
}
ALLOWED = 1.1


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--date", required=True, help="for the names of the results")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--remark", default="", help="on the machine")
    arguments = parser.parse_args()
    os.environ.update(dict.fromkeys(THREADS, "1"))  # libraries read these when they are first imported
    import torch

    torch.set_num_threads(1)
    from benchmarks.networks.training_clock import measure

    seconds = measure(
        _variants(arguments.width, arguments.batch), rounds=arguments.rounds, device=torch.device("cpu")
    )
    settings = {name: getattr(arguments, name) for name in ("width", "batch", "rounds", "remark")}
    path = arguments.output / f"methods_step_time_{arguments.date}.json"
    path.write_text(json.dumps({"settings": settings, "seconds": seconds}, indent=0) + "\n")
    path.with_suffix(".md").write_text(report(settings, seconds))


def _variants(width: int, batch: int) -> list[Any]:
    import torch
    from torch.nn.functional import cross_entropy

    import vispa
    from benchmarks.networks.training_variants import PLAIN_STE, SGD_OPTIONS, Variant, build_variants
    from vispa.networks import named_network
    from vispa.nn.methods.registry import METHODS

    network = "resnet18-1w1a"
    paper = named_network(network)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, *paper.shape, generator=generator)
    labels = torch.randint(paper.classes, (batch,), generator=generator)
    plain = build_variants(network, batch=batch, ranks=(), device=torch.device("cpu"), width=width)
    found = [variant for variant in plain if variant.name == PLAIN_STE]
    for name in METHODS:
        torch.manual_seed(0)
        model = vispa.binarize(paper.build(width=width), method=name, keep=paper.keep)
        if name == "bop":
            binary, real = vispa.split_parameters(model)
            optimizer: Any = vispa.OptimizerGroup(
                vispa.Bop(binary), torch.optim.SGD(real, fused=True, **SGD_OPTIONS)
            )
        else:
            optimizer = vispa.attach(torch.optim.SGD(model.parameters(), fused=True, **SGD_OPTIONS), model)
        vispa.anneal(model, 0.5)

        def step(model: Any = model, optimizer: Any = optimizer) -> None:
            (cross_entropy(model(images), labels) + vispa.penalty(model)).backward()
            optimizer.step()
            optimizer.zero_grad()

        found.append(Variant(name, 0, step))
    return found


def report(settings: dict[str, Any], seconds: dict[str, list[float]]) -> str:
    """Return the table, the dearest method last."""
    from statistics import median

    names = list(seconds)
    base = seconds[names[0]]
    ratios = {
        name: [ours / theirs for ours, theirs in zip(seconds[name], base, strict=True)] for name in names
    }
    lines = [
        "# A training step of every method on ResNet-18 (1W1A) beside plain straight-through", "",
        f"Width {settings['width']}, batch {settings['batch']}, one thread, processor time, {settings['rounds']} "
        f"interleaved rounds. {settings['remark']}".rstrip(), "",
        "| method | seconds | ratio, median | least and largest | above 1.1 because |", "|---|---|---|---|---|",
    ]  # fmt: skip
    for name in sorted(names, key=lambda name: median(ratios[name])):
        ratio = median(ratios[name])
        reason = REASONS.get(name, "") if ratio > ALLOWED else ""
        lines.append(
            f"| {name} | {median(seconds[name]):.2f} | {ratio:.2f} | {min(ratios[name]):.2f} - "
            f"{max(ratios[name]):.2f} | {reason} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
