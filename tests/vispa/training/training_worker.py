"""What the processes of tests/vispa/training/test_training_processes.py run; not a test itself.

python training_worker.py FOLDER whole,nan,die     # with RANK and the rest in the environment
torchrun ... training_worker.py FOLDER die-once
"""

import hashlib
import json
import math
import os
import signal
import sys
from pathlib import Path

import torch
from torch import nn

from vispa.training import models
from vispa.training.data.labelled_images import digits
from vispa.training.data.split import split
from vispa.training.divergence import NonFiniteError
from vispa.training.execution import Execution
from vispa.training.processes import from_environment
from vispa.training.recipes import recipe
from vispa.training.run import train

EPOCHS = 4


def without_batch_statistics(shape, classes, activation):
    """The statistics of BatchNorm are of a process's share, so equality with one process needs a net without."""
    channels, height, width = shape
    return nn.Sequential(
        nn.Flatten(), nn.Linear(channels * height * width, 24), nn.Tanh(), nn.Linear(24, 24), nn.Tanh(),
        nn.Linear(24, classes),
    )  # fmt: skip


models.SMALL["without-batch-statistics"] = without_batch_statistics
models.MODELS = (*models.MODELS, "without-batch-statistics")


def run(processes=None, callback=None, checkpoint=None, spoil=False):
    """Train on 63 digits in batches of 31 or 32, which two processes cannot divide evenly."""
    parts = split(digits(), seed=0, train_size=63)
    if spoil:
        parts.train.images[7] = math.nan
    return train(
        parts,
        recipe(
            "vispa",
            optimizer="sgd",
            learning_rate=0.2,
            epochs=EPOCHS,
            batch_size=32,
            samples=2,
            crop_padding=1,
            flip=True,
        ),
        model="without-batch-statistics",
        seed=1,
        checkpoint=checkpoint,
        callback=callback,
        execution=None if processes is None else Execution(processes),
    )


def summary(found):
    digest = hashlib.sha256()
    for values in found.network.state_dict().values():
        digest.update(values.numpy().tobytes())
    return {
        "history": [tuple(epoch) for epoch in found.result.history],
        "evaluation": vars(found.result.evaluation),
        "network": digest.hexdigest(),
    }


def die_in_epoch_two(rank, marker=None):
    def callback(epoch):
        if rank == 1 and epoch.epoch == 2 and (marker is None or not marker.exists()):
            if marker is not None:
                marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    return callback


def main(folder, tasks):
    torch.set_num_threads(1)
    processes = from_environment()
    rank = processes.rank
    for task in tasks:
        if task == "whole":
            outcome = summary(run(processes))
        elif task == "nan":
            try:
                run(processes, spoil=True)
            except NonFiniteError as error:
                outcome = str(error)
        elif task == "die-once":
            died = die_in_epoch_two(rank, folder / "died")
            outcome = summary(run(processes, died, folder / "run.checkpoint"))
        else:
            run(processes, die_in_epoch_two(rank))
            outcome = "survived"
        (folder / f"{task}-{rank}.json").write_text(json.dumps(outcome))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2].split(","))
