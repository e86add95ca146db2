"""`vispa train`: train networks by one or several methods under paired seeds."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from vispa.training.recipes import METHODS, recipe

EPILOGUE = """\
Seeds are paired: under one seed every method has the same split, the same initial signs and the same order
of batches. The epoch is chosen on the validation images; the test images are looked at once, at the end.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.epilog = EPILOGUE
    parser.add_argument(
        "--dataset",
        default="digits",
        metavar="digits|PATH",
        help="digits (scikit-learn's, the default), or an .npz file with arrays images (N, H, W) or "
        "(N, 1, H, W) and labels (N,)",
    )
    parser.add_argument("--model", default="convolutional", help="convolutional (the default) or multilayer")
    parser.add_argument(
        "--method",
        nargs="+",
        default=["vispa"],
        metavar="METHOD",
        help=f"one or several of {', '.join(METHODS)}; the first is compared with the others",
    )
    parser.add_argument("--rank", type=int, help="K, columns of the factor of vispa")
    parser.add_argument("--epochs", type=int, help="length of each run, if not the recipe's")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument(
        "--seeds", type=int, default=1, metavar="COUNT", help="how many seeds, from the first on"
    )
    parser.add_argument(
        "--train-size", type=int, metavar="N", help="number of training images; all by default"
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        metavar="PATH",
        help="folder for a checkpoint a run, made if missing; runs found there go on",
    )
    parser.add_argument("--max-seconds", type=float, metavar="S", help="time limit of all runs together")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def run(arguments: argparse.Namespace) -> int:
    """Train, then print the table or the JSON object; 1 if a run diverged or the time limit stopped one."""
    from solvers import checks
    from vispa.training.compare import compare, paired_jobs
    from vispa.training.data import load
    from vispa.training.divergence import NonFiniteError
    from vispa.training.loop import Stop

    count = checks.integer("seeds", arguments.seeds, minimum=1)
    first = checks.integer("seed", arguments.seed, minimum=0, maximum=2**63 - 1 - count)
    if len(set(arguments.method)) < len(arguments.method):
        raise ValueError(f"method must not name one twice; found {' '.join(arguments.method)}")
    if arguments.rank is not None and "vispa" not in arguments.method:
        raise ValueError(f"rank belongs to the method vispa; found {' '.join(arguments.method)}")
    changes = {name: getattr(arguments, name) for name in ("rank", "epochs")}
    given = {name: value for name, value in changes.items() if value is not None}
    recipes = [recipe(method, **given) for method in arguments.method]
    try:
        results = compare(
            load(arguments.dataset),
            paired_jobs(recipes, range(first, first + count), arguments.train_size, arguments.checkpoint),
            model=arguments.model,
            max_seconds=arguments.max_seconds,
            progress=True,
        )
    except NonFiniteError as error:
        sys.stderr.write(f"vispa train: {error}\n")
        return 1
    from vispa.training import report

    if arguments.json:
        content = {"dataset": str(arguments.dataset), **report.as_json(results)}
        sys.stdout.write(json.dumps(content, allow_nan=False) + "\n")
    else:
        sys.stdout.write(
            f"{report.table(results)}\n\n{report.EXPLANATION.format(first=arguments.method[0])}\n"
        )
    unfinished = [result for result in results if result.stop is not Stop.FINISHED]
    if unfinished:
        sys.stderr.write(
            f"vispa train: {len(unfinished)} of {len(results)} runs did not finish: {unfinished[0].stop.message}\n"
        )
    return 1 if unfinished else 0
