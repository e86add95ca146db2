"""What a run looks at: the fixed network after every epoch, and at the end everything about the test images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vispa.nn.calibration import evaluating
from vispa.nn.evaluation.accuracies import Accuracies, classify
from vispa.nn.evaluation.ensemble import sampling
from vispa.nn.evaluation.quality import Quality, judged, quality_of
from vispa.training.data.batches import collages, evaluation_batches
from vispa.training.data.labelled_images import LabelledImages
from vispa.training.generators import own_devices
from vispa.training.processes import Processes


@dataclass(frozen=True)
class Probabilities:
    """How good the probabilities are of the network sgn(mean), and of drawn networks averaged.

    Examples from outside the distribution are collages: quarters of four test images.  ``ensemble`` is None where
    nothing is drawn.
    """

    mean_network: Quality
    ensemble: Quality | None


def evaluate(
    model: nn.Module,
    validation: LabelledImages,
    test: LabelledImages,
    *,
    samples: int,
    seed: int,
    processes: Processes | None = None,
) -> Accuracies:
    """Return `vispa.accuracies` on the test images, each process having classified its share of them.

    ``samples`` = 0 evaluates the fixed network alone.  The draws depend on ``seed``; torch's default generator
    is left as it was.
    """
    processes = processes or Processes(test.labels.device)
    with torch.random.fork_rng(devices=own_devices(test.labels.device)):
        torch.manual_seed(seed)
        return classify(
            model,
            evaluation_batches(test, processes),
            samples=samples,
            validation=evaluation_batches(validation, processes),
            total=processes.sum,
        )


def probabilities(
    model: nn.Module, test: LabelledImages, *, samples: int, seed: int, processes: Processes | None = None
) -> Probabilities:
    """Return the quality of the probabilities on the test images, with draws of their own.

    Parameters as in `evaluate`.  The area under the curve tells test images from collages of them.
    """
    processes = processes or Processes(test.labels.device)
    with torch.random.fork_rng(devices=own_devices(test.labels.device)), evaluating(model):
        torch.manual_seed(seed)
        one = _quality(model, test, 1, processes)
        if samples == 0:
            return Probabilities(one, None)
        with sampling(model):
            return Probabilities(one, _quality(model, test, samples, processes))


def _quality(model: nn.Module, test: LabelledImages, samples: int, processes: Processes) -> Quality:
    """Quality of so many forwards averaged; every process judges its share, and all see the whole."""
    found = [
        _gathered(
            (judged([model(inputs) for _ in range(samples)], labels) for inputs, labels in batches),
            len(test), processes,
        )
        for batches in (evaluation_batches(test, processes), collages(test, processes))
    ]  # fmt: skip
    return quality_of(found[0], found[1][:, 1])


def _gathered(parts: Iterable[Tensor], total: int, processes: Processes) -> Tensor:
    """All processes' rows, each in its place."""
    share = processes.share_of(total)
    rows = torch.zeros(total, 3, dtype=torch.float64, device=processes.device)
    rows[share] = torch.cat([*parts, rows[:0]])
    return processes.sum(rows)


def accuracy_and_loss(
    model: nn.Module, data: LabelledImages, processes: Processes | None = None
) -> tuple[float, float]:
    """Accuracy and mean cross-entropy of the fixed network sgn(mean); every module's mode is restored."""
    processes = processes or Processes(data.labels.device)
    sums = torch.zeros(2, dtype=torch.float64, device=data.labels.device)
    with evaluating(model):
        for inputs, labels in evaluation_batches(data, processes):
            scores = model(inputs)
            right = (scores.argmax(dim=1) == labels).sum()
            sums += torch.stack([right, cross_entropy(scores, labels, reduction="sum")])
    right, loss = (processes.sum(sums) / len(data)).tolist()
    return right, loss
