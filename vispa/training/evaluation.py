"""What a run looks at: the fixed network after every epoch, and at the end all accuracies on the test images."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from vispa.nn.calibration import evaluating
from vispa.nn.evaluation.accuracies import Accuracies, classify
from vispa.training.data.batches import evaluation_batches
from vispa.training.data.labelled_images import LabelledImages
from vispa.training.generators import own_devices
from vispa.training.processes import Processes


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
