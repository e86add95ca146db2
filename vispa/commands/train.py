"""`vispa train`: train networks by one or several methods under paired seeds."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vispa.training.models import MODELS
from vispa.training.published import PUBLISHED, published
from vispa.training.recipes import METHODS, Recipe, recipe

if TYPE_CHECKING:
    from vispa.training.data.labelled_images import LabelledImages
    from vispa.training.run import Result

EPILOGUE = """\
Seeds are paired: under one seed every method has the same split, the same initial signs and the same order
of batches. The epoch is chosen on the validation images; the test images are looked at once, at the end.
Under torchrun (torchrun --nproc-per-node 4 -m vispa train ...) all processes train one network together, each on
its share of every batch; with --checkpoint, torchrun --max-restarts takes a run up again after a failure (set
TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 then, or restarted processes look for those that died).
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.epilog = EPILOGUE
    _add_what_is_trained(parser)
    _add_runs(parser)
    _add_execution(parser)


def _add_what_is_trained(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dataset",
        default="digits",
        metavar="digits|PATH",
        help="digits (scikit-learn's, the default); a folder of images, or a tar of one, with a folder a class, "
        "and train beside test or val if there are parts; an .npz file with arrays images (N, H, W) or "
        "(N, C, H, W) and labels (N,); or torchvision:CIFAR10 and the like, where torchvision is installed",
    )
    parser.add_argument(
        "--image-size",
        type=int,
        metavar="N",
        help="resize and cut the images of a folder or tar to N x N (default: as they are; streamed: the recipe's)",
    )
    parser.add_argument(
        "--stream",
        action="store_true",
        help="decode the images of a folder or a plain tar batch by batch, for data sets larger than memory; "
        "the recipes for ImageNet, whose crops are of random size, always do",
    )
    parser.add_argument(
        "--recipe",
        metavar="NAME",
        help=f"model and settings of the paper: one of {', '.join(PUBLISHED)}",
    )
    parser.add_argument(
        "--model",
        metavar="NAME[:WIDTH]",
        help=f"one of {', '.join(MODELS)} (default: the recipe's, or convolutional); a number after a colon "
        "makes it narrower or wider",
    )


def _add_runs(parser: argparse.ArgumentParser) -> None:
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


def _add_execution(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--checkpoint",
        type=Path,
        metavar="PATH",
        help="folder for a checkpoint a run, made if missing; runs found there go on",
    )
    parser.add_argument(
        "--checkpoint-every", type=int, default=1, metavar="N", help="epochs between checkpoints (default: 1)"
    )
    parser.add_argument(
        "--log-folder", type=Path, metavar="PATH", help="for a log of the epochs of each run, made if missing"
    )
    parser.add_argument("--log-format", default="csv", help="csv (the default) or tensorboard")
    parser.add_argument("--device", default="cpu", help="cpu (the default), cuda or cuda:N")
    parser.add_argument(
        "--precision", default="float32", help="float32 (the default) or bfloat16, in training"
    )
    parser.add_argument("--compile", action="store_true", help="compile the network with torch.compile")
    parser.add_argument("--max-seconds", type=float, metavar="S", help="time limit of all runs together")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def run(arguments: argparse.Namespace) -> int:
    """Train, then print the table or the JSON object; 1 if a run diverged or the time limit stopped one.

    After a run that diverged, and after an interrupt, what was finished before is printed.
    """
    from vispa.training.compare import compare, paired_jobs
    from vispa.training.divergence import NonFiniteError
    from vispa.training.execution import Execution
    from vispa.training.processes import from_environment

    seeds, (model, recipes) = _seeds(arguments), _recipes(arguments)
    execution = Execution(from_environment(arguments.device), arguments.precision, arguments.compile)
    first = execution.processes.rank == 0
    results: list[Result] = []
    try:
        compare(
            _data(arguments, model, recipes, progress=first),
            paired_jobs(
                recipes, seeds, arguments.train_size, arguments.checkpoint,
                arguments.log_folder if first else None, arguments.log_format,
            ),
            model=model,
            max_seconds=arguments.max_seconds,
            execution=execution,
            checkpoint_every=arguments.checkpoint_every,
            progress=True,
            callback=results.append,
        )  # fmt: skip
    except (NonFiniteError, KeyboardInterrupt) as error:
        if results:
            _report(results, arguments, speaks=first)
        if isinstance(error, KeyboardInterrupt):
            raise
        sys.stderr.write(f"vispa train: {error}\n")
        return 1
    return _report(results, arguments, speaks=first)


def _data(
    arguments: argparse.Namespace, model: str, recipes: list[Recipe], *, progress: bool
) -> LabelledImages:
    from vispa.training.data.load import load
    from vispa.training.models import image_size_of

    stream, size = arguments.stream or recipes[0].resized_crops, arguments.image_size
    if stream and size is None:
        size = image_size_of(model)
    return load(arguments.dataset, image_size=size, stream=stream, progress=progress)


def _seeds(arguments: argparse.Namespace) -> range:
    from solvers import checks

    count = checks.integer("seeds", arguments.seeds, minimum=1)
    first = checks.integer("seed", arguments.seed, minimum=0, maximum=2**63 - 1 - count)
    return range(first, first + count)


def _recipes(arguments: argparse.Namespace) -> tuple[str, list[Recipe]]:
    """Return the model's name and one recipe a method."""
    if len(set(arguments.method)) < len(arguments.method):
        raise ValueError(f"method must not name one twice; found {' '.join(arguments.method)}")
    if arguments.rank is not None and "vispa" not in arguments.method:
        raise ValueError(f"rank belongs to the method vispa; found {' '.join(arguments.method)}")
    changes = {name: getattr(arguments, name) for name in ("rank", "epochs")}
    given = {name: value for name, value in changes.items() if value is not None}
    if arguments.recipe is None:
        return arguments.model or "convolutional", [recipe(method, **given) for method in arguments.method]
    chosen = [published(arguments.recipe, method, **given) for method in arguments.method]
    return arguments.model or chosen[0].model, [found.recipe for found in chosen]


def _report(results: list[Result], arguments: argparse.Namespace, *, speaks: bool) -> int:
    from vispa.training import report
    from vispa.training.loop import Stop

    unfinished = [result for result in results if result.stop is not Stop.FINISHED]
    if not speaks:
        return 1 if unfinished else 0
    if arguments.json:
        content = {"dataset": str(arguments.dataset), **report.as_json(results)}
        sys.stdout.write(json.dumps(content, allow_nan=False) + "\n")
    else:
        sys.stdout.write(
            f"{report.table(results)}\n\n{report.EXPLANATION.format(first=results[0].recipe.method)}\n\n"
            f"{report.probability_table(results)}\n\n{report.PROBABILITIES}\n"
        )
    if unfinished:
        sys.stderr.write(
            f"vispa train: {len(unfinished)} of {len(results)} runs did not finish: {unfinished[0].stop.message}\n"
        )
    return 1 if unfinished else 0
