"""AdamBNN's two steps: binary activations with real weights first, then binary weights from the best of those."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from vispa.training.data.split import Split
from vispa.training.execution import Execution
from vispa.training.loop import Stop
from vispa.training.recipes import Recipe, recipe
from vispa.training.run import Run, train


class TwoSteps(NamedTuple):
    """The runs of both steps; the second is None where the first was stopped."""

    first: Run
    second: Run | None


def adambnn(method: str = "reactnet", **changes: Any) -> tuple[Recipe, Recipe]:
    """Return the recipes of both steps as AdamBNN was trained on ImageNet.

    Adam at 1.25e-3 falling along a line to zero, batches of 256, 256 epochs a step.  Coupled weight decay 5e-6 of
    convolutions and of the activations' shifts alone in step 1, and none in step 2.

    Parameters
    ----------
    method : str, optional
        Of the binary weights of step 2.
    **changes
        Fields of `Recipe`, in both steps.

    Raises
    ------
    ValueError, TypeError
        If a setting is out of range.

    References
    ----------
    Liu, Shen, Li, Helwegen, Huang and Cheng, How Do Adam and Training Strategies Help BNNs Optimization?,
    ICML 2021.

    Examples
    --------
    >>> first, second = adambnn(epochs=10)
    >>> first.method, first.weight_decay, second.method, second.weight_decay
    ('real-weights', 5e-06, 'reactnet', 0.0)
    """
    common: dict[str, Any] = {
        "optimizer": "adam-l2", "learning_rate": 1.25e-3, "schedule": "linear", "warmup_epochs": 0, "epochs": 256,
        "batch_size": 256,
    }  # fmt: skip
    return (
        recipe("real-weights", **{**common, "weight_decay": 5e-6, **changes}),
        recipe(method, **{**common, "weight_decay": 0.0, **changes}),
    )


def train_two_steps(
    parts: Split,
    recipes: tuple[Recipe, Recipe],
    *,
    model: str = "convolutional",
    seed: int = 0,
    teacher: nn.Module | None = None,
    checkpoints: str | Path | None = None,
    max_seconds: float | None = None,
    execution: Execution | None = None,
    progress: bool = False,
) -> TwoSteps:
    """Train binary activations with real weights, then binary weights from the best epoch on validation.

    Parameters
    ----------
    parts : Split
    recipes : pair of Recipe
        Of step 1, whose weights are real, and of step 2: from `adambnn`, or any others.
    model, seed, execution, progress
        As in `vispa.training.run.train`.
    teacher : Module, optional
        Both steps learn its probabilities in place of the labels.
    checkpoints : path, optional
        A folder that exists, for a checkpoint a step.
    max_seconds : float, optional
        Time limit of each step.

    Returns
    -------
    TwoSteps
        Each run evaluated on the test images by itself.

    Raises
    ------
    ValueError, TypeError
        If step 1 has binary weights, and as `vispa.training.run.train`.
    """
    first, second = recipes
    if first.is_binary:
        raise ValueError(f"recipes must begin with real weights; found method {first.method!r}")
    paths = [
        None if checkpoints is None else Path(checkpoints) / f"step{number}.checkpoint" for number in (1, 2)
    ]
    common: dict[str, Any] = {
        "model": model, "seed": seed, "teacher": teacher, "max_seconds": max_seconds, "execution": execution,
        "progress": progress,
    }  # fmt: skip
    found = train(parts, first, checkpoint=paths[0], **common)
    if found.result.stop is not Stop.FINISHED:
        return TwoSteps(found, None)
    return TwoSteps(found, train(parts, second, checkpoint=paths[1], start=found.network, **common))
