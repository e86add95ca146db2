"""`vispa compare`: methods x budgets x seeds, tuned alike, in one resumable file."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vispa.training.models import MODELS
from vispa.training.recipes import METHODS

if TYPE_CHECKING:
    from vispa.training.comparison import Comparison

EPILOGUE = """\
Every method has the same number of trials, spread evenly over a range of rates, by SGD and by Adam, judged on
validation images; the winner's settings are then trained under paired seeds, and the test images are looked at
once a run. Everything found is kept in the file: call it again to go on, or with more methods, seeds, trials or
budgets.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.epilog = EPILOGUE
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="FILE.json",
        help="what is found; FILE.md gets the tables",
    )
    parser.add_argument("--dataset", default="digits", metavar="digits|PATH", help="as in vispa train")
    parser.add_argument(
        "--model", default="convolutional", metavar="NAME[:WIDTH]", help=f"one of {', '.join(MODELS)}"
    )
    parser.add_argument(
        "--method",
        nargs="+",
        default=list(METHODS),
        metavar="METHOD",
        help=f"all by default: {', '.join(METHODS)}",
    )
    parser.add_argument(
        "--reference",
        metavar="METHOD",
        help="differences are taken from it (default: ste, or the first of the methods where that is none of them)",
    )
    parser.add_argument(
        "--epochs", type=int, nargs="+", default=[8], metavar="N", help="the budgets, each tuned for itself"
    )
    parser.add_argument("--seeds", type=int, default=5, metavar="COUNT", help="runs of a method (default: 5)")
    parser.add_argument(
        "--trials", type=int, default=4, metavar="COUNT", help="with either optimizer (default: 4)"
    )
    parser.add_argument(
        "--tuning-seeds", type=int, default=3, metavar="COUNT", help="runs that judge a trial (default: 3)"
    )
    parser.add_argument(
        "--train-size", type=int, metavar="N", help="number of training images; all by default"
    )
    parser.add_argument("--samples", type=int, default=10, metavar="L", help="networks drawn for an ensemble")
    parser.add_argument(
        "--curves", type=Path, metavar="PNG", help="draw learning curves here (needs matplotlib)"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes of one thread each (default: 1)")
    parser.add_argument("--max-seconds", type=float, metavar="S", help="then stop, and report what there is")
    parser.add_argument("--json", action="store_true", help="everything found on standard output, not tables")


def run(arguments: argparse.Namespace) -> int:
    """Compare, write the file and the tables; 1 if the time limit left something to do."""
    from tqdm import tqdm

    from solvers import checks
    from vispa.training.comparison import Comparison, Plan
    from vispa.training.data.load import load

    plan = Plan(
        tuple(arguments.method), tuple(arguments.epochs), arguments.seeds, arguments.trials,
        arguments.train_size, arguments.model, arguments.samples, arguments.tuning_seeds,
    )  # fmt: skip
    reference = arguments.reference or ("ste" if "ste" in plan.methods else plan.methods[0])
    checks.choice("reference", reference, plan.methods)
    if arguments.curves is not None:
        _check_curves(arguments.curves)
    comparison = Comparison(plan, arguments.output)
    with tqdm(unit="run", file=sys.stderr, leave=False, disable=None) as bar:

        def after(done: int, total: int) -> None:
            bar.total, bar.n = total, done
            bar.refresh()

        finished = comparison.run(
            load(arguments.dataset),
            max_seconds=arguments.max_seconds,
            workers=arguments.workers,
            callback=after,
        )
    _report(comparison, reference, arguments)
    if not finished:
        sys.stderr.write(
            f"vispa compare: {comparison.count_missing()} trials and runs are left; run it again to go on\n"
        )
    return 0 if finished else 1


def _check_curves(path: Path) -> None:
    """Refuse before hours of work what would fail after them."""
    from solvers.optional import require

    require("matplotlib", "plots", "the picture of learning curves")
    if path.is_dir() or not path.parent.is_dir():
        raise ValueError(f"curves must be a file in a folder that exists; found {path}")


def _report(comparison: Comparison, reference: str, arguments: argparse.Namespace) -> None:
    from solvers.whole_file import write_whole
    from vispa.training.comparison_report import comparison_tables, save_curves

    tables = comparison_tables(comparison, reference)
    title = f"# {', '.join(comparison.plan.methods)}: {Path(arguments.dataset).name}, {arguments.model}\n\n"
    write_whole(arguments.output.with_suffix(".md"), (title + tables).encode())
    text = json.dumps(comparison.found, allow_nan=False) + "\n" if arguments.json else tables
    sys.stdout.write(text)
    if arguments.curves is not None:
        save_curves(comparison, reference, arguments.curves)
