"""Methods side by side under paired seeds: every seed runs every method on the same split."""

from __future__ import annotations

import math
import multiprocessing
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

import torch
from tqdm import tqdm

from solvers import checks
from vispa.training.data import LabelledImages
from vispa.training.recipes import Recipe
from vispa.training.run import Result, train
from vispa.training.split import split


class Job(NamedTuple):
    """One run of a comparison; with a checkpoint it goes on from there, and writes there."""

    recipe: Recipe
    seed: int
    train_size: int | None = None
    checkpoint: Path | None = None


def compare(
    data: LabelledImages,
    jobs: Sequence[Job],
    *,
    model: str = "convolutional",
    max_seconds: float | None = None,
    workers: int = 1,
    progress: bool = False,
) -> list[Result]:
    """Run all jobs and return their results in the order of the jobs.

    Parameters
    ----------
    data : LabelledImages
        Split anew for every seed; the test part is the same for all.
    jobs : sequence of Job
        From `paired_jobs`.
    model : str, optional
        A name in `vispa.training.models.MODELS`.
    max_seconds : float, optional
        Time limit of all runs together.
    workers : int, optional
        Processes; each uses one thread.  1 stays in this process, with its threads.
    progress : bool, optional
        Show bars on standard error, if that is a terminal.

    Raises
    ------
    ValueError, TypeError
        As `train`, and if there are no jobs.
    NonFiniteError
        When a loss of any run is NaN or infinite.
    """
    if not jobs:
        raise ValueError("jobs must not be empty")
    workers = checks.integer("workers", workers, minimum=1)
    limit = math.inf if max_seconds is None else checks.scalar("max_seconds", max_seconds, minimum=0.0)
    deadline = time.monotonic() + limit
    results: dict[int, Result] = {}
    finished = _parallel if workers > 1 else _in_turn
    with tqdm(total=len(jobs), unit="run", file=sys.stderr, disable=None if progress else True) as bar:
        for index, result in finished(data, jobs, model, deadline, workers):
            results[index] = result
            bar.update()
    return [results[index] for index in range(len(jobs))]


def paired_jobs(
    recipes: Sequence[Recipe],
    seeds: Sequence[int],
    train_size: int | None = None,
    checkpoints: str | Path | None = None,
) -> list[Job]:
    """Every recipe under every seed, recipes outermost.

    ``checkpoints`` is a folder, made if missing, for one checkpoint a job, named after method, number of
    training images and seed.  A ValueError says so where it is a file.
    """
    folder = None if checkpoints is None else _folder(Path(checkpoints))
    size = "all" if train_size is None else train_size
    return [
        Job(recipe, seed, train_size, folder and folder / f"{recipe.method}-{size}-seed{seed}.checkpoint")
        for recipe in recipes
        for seed in seeds
    ]


def run_job(
    data: LabelledImages, job: Job, model: str, deadline: float = math.inf, *, progress: bool = False
) -> Result:
    """Split, train and evaluate one job."""
    parts = split(data, seed=job.seed, train_size=job.train_size)
    return train(
        parts,
        job.recipe,
        model=model,
        seed=job.seed,
        checkpoint=job.checkpoint,
        max_seconds=_remaining(deadline),
        progress=progress,
    ).result


def _in_turn(
    data: LabelledImages, jobs: Sequence[Job], model: str, deadline: float, _workers: int
) -> Iterator[tuple[int, Result]]:
    for index, job in enumerate(jobs):
        yield index, run_job(data, job, model, deadline, progress=True)


def _parallel(
    data: LabelledImages, jobs: Sequence[Job], model: str, deadline: float, workers: int
) -> Iterator[tuple[int, Result]]:
    # Spawned, not forked: a fork of a process whose thread pools have started may hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        min(workers, len(jobs)), context, initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        futures = {pool.submit(run_job, data, job, model, deadline): index for index, job in enumerate(jobs)}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _remaining(deadline: float) -> float | None:
    return None if deadline == math.inf else max(0.0, deadline - time.monotonic())


def _folder(path: Path) -> Path:
    if path.exists() and not path.is_dir():
        raise ValueError(f"checkpoint must be a folder, for there may be several runs; {path} is a file")
    path.mkdir(parents=True, exist_ok=True)
    return path
