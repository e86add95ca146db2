"""Methods side by side under paired seeds: every seed runs every method on the same split."""

from __future__ import annotations

import math
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
from tqdm import tqdm

from solvers import checks
from vispa.training.data.labelled_images import LabelledImages
from vispa.training.data.split import split
from vispa.training.execution import Execution
from vispa.training.logs import Log, open_log
from vispa.training.recipes import Recipe
from vispa.training.run import Result, train

T = TypeVar("T")
R = TypeVar("R")


class Job(NamedTuple):
    """One run of a comparison; with a checkpoint it goes on from there, and writes there; it may keep a log."""

    recipe: Recipe
    seed: int
    train_size: int | None = None
    checkpoint: Path | None = None
    log: Log | None = None


def compare(
    data: LabelledImages,
    jobs: Sequence[Job],
    *,
    model: str = "convolutional",
    max_seconds: float | None = None,
    workers: int = 1,
    execution: Execution | None = None,
    checkpoint_every: int = 1,
    progress: bool = False,
    callback: Callable[[Result], None] | None = None,
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
        Runs at a time, each in a process with one thread.  1 stays in this process, with its threads.
    execution : Execution, optional
        Of every run; with several workers they are plain ones, on the CPU.
    checkpoint_every : int, optional
        Epochs between the checkpoints of a run.
    progress : bool, optional
        Show bars on standard error, if that is a terminal.
    callback : callable, optional
        Called with each result as it comes, which outlives an error or an interrupt of a later run.

    Raises
    ------
    ValueError, TypeError
        As `train`, and if there are no jobs, or both ``workers`` and ``execution`` are given.
    NonFiniteError
        When a loss of any run is NaN or infinite.
    """
    if not jobs:
        raise ValueError("jobs must not be empty")
    workers = checks.integer("workers", workers, minimum=1)
    if workers > 1 and execution is not None:
        raise ValueError(f"workers must be 1 where execution is given; found {workers}")
    limit = math.inf if max_seconds is None else checks.scalar("max_seconds", max_seconds, minimum=0.0)
    deadline = time.monotonic() + limit
    results: dict[int, Result] = {}
    execution = execution or Execution()
    run = partial(run_job, data, model=model, deadline=deadline, checkpoint_every=checkpoint_every)
    if workers > 1:
        finished = in_processes(run, jobs, workers)
    else:
        finished = (
            (index, run(job, execution=execution, progress=progress)) for index, job in enumerate(jobs)
        )
    shown = progress and execution.processes.rank == 0
    with tqdm(total=len(jobs), unit="run", file=sys.stderr, disable=None if shown else True) as bar:
        for index, result in finished:
            results[index] = result
            bar.update()
            if callback is not None:
                callback(result)
    return [results[index] for index in range(len(jobs))]


def paired_jobs(
    recipes: Sequence[Recipe],
    seeds: Sequence[int],
    train_size: int | None = None,
    checkpoints: str | Path | None = None,
    log_folder: str | Path | None = None,
    log_format: str = "csv",
) -> list[Job]:
    """Every recipe under every seed, recipes outermost.

    ``checkpoints`` and ``log_folder`` are folders, made if missing, for one checkpoint and one log (``"csv"`` or
    ``"tensorboard"``) a job, named after method, number of training images and seed.  A ValueError says so where
    one is a file.
    """
    folder = None if checkpoints is None else _folder(Path(checkpoints))
    size = "all" if train_size is None else train_size
    jobs = []
    for recipe in recipes:
        for seed in seeds:
            name = f"{recipe.method}-{size}-seed{seed}"
            log = None if log_folder is None else open_log(log_format, Path(log_folder), name)
            jobs.append(Job(recipe, seed, train_size, folder and folder / f"{name}.checkpoint", log))
    return jobs


def run_job(
    data: LabelledImages,
    job: Job,
    *,
    model: str,
    deadline: float = math.inf,
    checkpoint_every: int = 1,
    execution: Execution | None = None,
    progress: bool = False,
) -> Result:
    """Split, train and evaluate one job."""
    parts = split(data, seed=job.seed, train_size=job.train_size)
    return train(
        parts,
        job.recipe,
        model=model,
        seed=job.seed,
        checkpoint=job.checkpoint,
        checkpoint_every=checkpoint_every,
        max_seconds=_remaining(deadline),
        log=job.log,
        execution=execution,
        progress=progress,
    ).result


def in_processes(run: Callable[[T], R], items: Sequence[T], workers: int) -> Iterator[tuple[int, R]]:
    """Yield index and result of every item as it is finished, so many at a time, in processes of one thread."""
    # Spawned, not forked: a fork of a process whose thread pools have started may hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        min(workers, len(items)), context, initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        futures = {pool.submit(run, item): index for index, item in enumerate(items)}
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
