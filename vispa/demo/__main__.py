"""`python -m vispa.demo`: an exact SDP on real data, then binary networks on digits, in about a minute or two."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from solvers import checks
from solvers.problems.problem import BinaryQuadratic
from vispa.training.compare import compare, paired_jobs
from vispa.training.data.labelled_images import digits
from vispa.training.data.split import split
from vispa.training.recipes import SHOWN_METHODS, recipe
from vispa.training.report import EXPLANATION, table
from vispa.training.run import Result

DIGIT = 3
SDP_SECONDS = 60.0
TRAIN_SIZES = (200, 1000)


class BinaryRow(NamedTuple):
    """Least squares with one row of signs: the quadratic, and the error that real weights reach."""

    problem: BinaryQuadratic
    scale: float
    real_error: float


def binary_row(images: NDArray[np.float64], labels: NDArray[np.int64], digit: int) -> BinaryRow:
    r"""Mean squared error of ``scale * (pixels @ w)`` against +1 for ``digit`` and -1 for the others.

    Pixels are standardised, targets centred, pixels that never change left out; ``scale`` is the mean magnitude
    of the real least-squares weights, the best multiple of their signs.

    Parameters
    ----------
    images : (m, pixels) ndarray
    labels : (m,) ndarray
    digit : int

    Returns
    -------
    BinaryRow
        Its problem's value is the error of w in :math:`\{-1, 1\}^n`.
    """
    pixels = images[:, images.std(axis=0) > 0]
    pixels = (pixels - pixels.mean(axis=0)) / pixels.std(axis=0)
    targets = np.where(labels == digit, 1.0, -1.0)
    targets -= targets.mean()
    weights, *_ = np.linalg.lstsq(pixels, targets, rcond=None)
    scale = float(np.abs(weights).mean())
    count = targets.size
    problem = BinaryQuadratic(
        scale**2 * (pixels.T @ pixels) / count,
        -2 * scale * (pixels.T @ targets) / count,
        float(targets @ targets) / count,
    )
    return BinaryRow(problem, scale, float(np.mean((pixels @ weights - targets) ** 2)))


def show_sdp() -> None:
    """Solve one real relaxation twice, and round it."""
    from solvers.exact.shor import exact
    from solvers.heuristics.rounding import round_homogeneous
    from solvers.low_rank import low_rank

    data = digits()
    images = np.asarray(data.images, dtype=np.float64)
    row = binary_row(images.reshape(len(images), -1), data.labels.numpy(), DIGIT)
    n = row.problem.n
    print(f"1. One binary row that tells {DIGIT} from the other digits: least squares over signs, n = {n}")
    print(f"   {'':24}{'value':>12}{'lower bound':>14}{'gap':>10}  {'certificate':12}{'seconds':>9}")
    solutions = {
        "CVXPY (Clarabel)": exact(row.problem, max_seconds=SDP_SECONDS),
        "low rank, first call": low_rank(row.problem, rng=0, max_seconds=SDP_SECONDS),
        "low rank, compiled": low_rank(row.problem, rng=0, max_seconds=SDP_SECONDS),
    }
    for name, found in solutions.items():
        print(
            f"   {name:24}{found.value:12.8f}{found.lower_bound:14.8f}{found.gap:10.1e}"
            f"  {found.certificate:12}{found.seconds:9.3f}"
        )
    started = time.perf_counter()
    rounding = round_homogeneous(solutions["low rank, compiled"], rng=0)
    seconds = time.perf_counter() - started
    print(f"   {'rounded to signs':24}{rounding.value:12.8f}{'':14}{rounding.gap:10.1e}{'':14}{seconds:9.3f}")
    print(
        f"   No row of signs has an error below {solutions['low rank, compiled'].lower_bound:.4f}; "
        f"this one has {rounding.value:.4f}; real weights reach {row.real_error:.4f}.\n"
    )


def show_training(
    seeds: int, train_sizes: Sequence[int], epochs: int | None, workers: int, plot: Path | None
) -> None:
    """Train all methods with few and with more images, print the tables, save the plot."""
    data = digits()
    changes = {} if epochs is None else {"epochs": epochs}
    recipes = [recipe(method, **changes) for method in SHOWN_METHODS]
    # The longest runs first, so that no process is left with one at the end.
    sizes = sorted(train_sizes, reverse=True)
    jobs = [job for size in sizes for job in paired_jobs(recipes, range(seeds), size)]
    with tempfile.TemporaryDirectory() as folder:
        # The first run is vispa with the most images: the plot looks into its network.
        jobs[0] = jobs[0]._replace(checkpoint=Path(folder) / "shown.checkpoint")
        results = compare(data, jobs, workers=workers, progress=True)
        for number, size in enumerate(sorted(train_sizes), start=2):
            chosen = [result for result in results if result.training_images == size]
            print(f"{number}. Digits, {size} training images, {seeds} paired seeds")
            print(_indented(table(chosen)) + "\n")
        print(_indented(EXPLANATION.format(first=SHOWN_METHODS[0])))
        print(_indented(_verdict(results, sorted(train_sizes))))
        if plot is not None:
            from vispa.demo.plot import save_plot

            job = jobs[0]
            chosen = [result for result in results if result.training_images == sizes[0]]
            save_plot(plot, split(data, seed=job.seed, train_size=job.train_size), job, chosen)
            print(f"\nPlot saved to {plot}")


def _verdict(results: Sequence[Result], sizes: Sequence[int]) -> str:
    """Say in words what the intervals allow one to say, and no more."""
    from vispa.training.report import difference, methods

    lines = []
    for size in sizes:
        groups = methods([result for result in results if result.training_images == size])
        for other in SHOWN_METHODS[1:]:
            found = difference(groups[SHOWN_METHODS[0]], groups[other])
            if found is None or found.count < 2:
                continue
            if found.lower > 0:
                words = "is better than"
            elif found.upper < 0:
                words = "is worse than"
            else:
                words = "cannot be told from"
            lines.append(f"With {size} images one {SHOWN_METHODS[0]} network {words} {other} at 95 %.")
    return "\n".join(lines)


def _indented(text: str) -> str:
    return "\n".join("   " + line for line in text.splitlines())


def build_parser() -> argparse.ArgumentParser:
    """The arguments of the demonstration."""
    parser = argparse.ArgumentParser(prog="python -m vispa.demo", description=__doc__)
    parser.add_argument("--plot", type=Path, metavar="PNG", help="save the plot here (needs matplotlib)")
    parser.add_argument("--seeds", type=int, default=5, help="paired seeds a method")
    parser.add_argument(
        "--train-size", type=int, nargs="+", default=list(TRAIN_SIZES), metavar="N", help="training images"
    )
    parser.add_argument("--epochs", type=int, help="length of each run, if not the recipe's")
    parser.add_argument("--workers", type=int, default=2, help="processes, of one thread each")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demonstration; 2 for bad input."""
    arguments = build_parser().parse_args(argv)
    started = time.monotonic()
    try:
        seeds = checks.integer("seeds", arguments.seeds, minimum=1)
        if len(set(arguments.train_size)) < len(arguments.train_size):
            raise ValueError(f"train_size must not name one twice; found {arguments.train_size}")
        if arguments.plot is not None:
            _prepare_plot(arguments.plot)
        show_sdp()
        show_training(seeds, arguments.train_size, arguments.epochs, arguments.workers, arguments.plot)
    except (ValueError, TypeError, OSError) as error:
        print(f"vispa.demo: {error}", file=sys.stderr)
        return 2
    print(f"Took {time.monotonic() - started:.0f} s.")
    return 0


def _prepare_plot(path: Path) -> None:
    """Fail before the work, not after it."""
    import importlib.util

    if path.suffix != ".png":
        raise ValueError(f"plot must be a .png file; found {str(path)!r}")
    if importlib.util.find_spec("matplotlib") is None:
        raise ValueError("plot needs matplotlib; install the extra `plots`")
    path.parent.mkdir(parents=True, exist_ok=True)


if __name__ == "__main__":
    sys.exit(main())
