"""Accuracies of what training leaves: one fixed network, the best of L sampled ones, average, ensemble.

A single binary network and an average over many are different products; they are never mixed in one number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vispa.training.data import LabelledImages
from vispa.training.generators import own_devices
from vispa.training.processes import Processes

EVALUATION_BATCH = 1024


@dataclass(frozen=True)
class Evaluation:
    """Test accuracies in [0, 1]; the last three are nan for a method that has nothing to sample.

    Attributes
    ----------
    mean_network : float
        The one network sgn(mean).
    best_network : float
        The one network with the best validation accuracy among ``samples`` drawn ones.
    sampled_network : float
        Average over the drawn networks of the accuracy of each.
    ensemble : float
        Of the logits averaged over the drawn networks: ``samples`` networks are kept, not one.
    samples : int
        L; 0 where nothing is sampled.
    """

    mean_network: float
    best_network: float
    sampled_network: float
    ensemble: float
    samples: int


def evaluate(
    model: nn.Module,
    validation: LabelledImages,
    test: LabelledImages,
    *,
    samples: int,
    seed: int,
    processes: Processes | None = None,
) -> Evaluation:
    """Evaluate on the test images, choosing the best drawn network on the validation images.

    ``samples`` = 0 evaluates the fixed network alone; otherwise ``model`` has binary layers, and every network
    drawn is a plain one, from `vispa.harden`.  The draws depend on ``seed``; torch's default generator is left
    as it was.  Time: 1 + 2 samples forward passes, divided among the processes.
    """
    mean_network = accuracy(logits(model, test, processes), test.labels)
    if samples == 0:
        return Evaluation(mean_network, math.nan, math.nan, math.nan, 0)
    from vispa.nn import harden

    chosen_by, scores = [], []
    with torch.random.fork_rng(devices=own_devices(test.labels.device)):
        torch.manual_seed(seed)
        for _ in range(samples):  # one network at a time in memory
            network = harden(model, how="sample")
            chosen_by.append(accuracy(logits(network, validation, processes), validation.labels))
            scores.append(logits(network, test, processes))
    accuracies = [accuracy(each, test.labels) for each in scores]
    best = max(range(samples), key=lambda draw: chosen_by[draw])
    return Evaluation(
        mean_network,
        accuracies[best],
        sum(accuracies) / samples,
        accuracy(torch.stack(scores).mean(dim=0), test.labels),
        samples,
    )


def accuracy(scores: Tensor, labels: Tensor) -> float:
    """Share of rows whose largest logit is the label's."""
    return float((scores.argmax(dim=1) == labels).double().mean())


def accuracy_and_loss(
    model: nn.Module, data: LabelledImages, processes: Processes | None = None
) -> tuple[float, float]:
    """Accuracy and mean cross-entropy of the fixed network."""
    scores = logits(model, data, processes)
    return accuracy(scores, data.labels), float(cross_entropy(scores, data.labels))


def logits(model: nn.Module, data: LabelledImages, processes: Processes | None = None) -> Tensor:
    """Logits of the fixed network sgn(mean), in evaluation mode; every module's mode is restored.

    Several processes, with equal models, compute a share each and all return the whole.
    """
    processes = processes or Processes(data.labels.device)
    share = processes.share_of(len(data))
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            starts = range(share.start, share.stop, EVALUATION_BATCH)
            rows = [
                model(data.inputs(slice(start, min(start + EVALUATION_BATCH, share.stop))))
                for start in starts
            ]
            return processes.gather(torch.cat(rows), len(data))
    finally:
        for module, training in modes.items():
            module.training = training
