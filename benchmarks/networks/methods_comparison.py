"""Every training method on digits: the same number of trials by SGD and by Adam, then paired seeds.

    python -m benchmarks.networks.methods_comparison --date 2026-11-28 --minutes 20

`vispa compare` with 1,000 images, all methods and 8 epochs; run it again to go on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from vispa.cli import main as vispa
from vispa.training.recipes import METHODS


def main() -> int:
    """Run what is missing until the time is over, and write the table and the learning curves."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--date", required=True, help="for the names of the results")
    parser.add_argument("--method", nargs="+", default=list(METHODS), help="some methods alone")
    parser.add_argument("--trials", type=int, default=4, help="with either optimizer")
    parser.add_argument("--epochs", type=int, nargs="+", default=[8])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=60.0, help="then write what there is")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    path = arguments.output / f"compare_digits_{arguments.date}.json"
    words = [
        "compare", "--output", path, "--curves", path.with_suffix(".png"), "--train-size", 1000,
        "--method", *arguments.method, "--trials", arguments.trials, "--epochs", *arguments.epochs,
        "--seeds", arguments.seeds, "--max-seconds", 60 * arguments.minutes,
    ]  # fmt: skip
    return vispa([str(word) for word in words])


if __name__ == "__main__":
    raise SystemExit(main())
