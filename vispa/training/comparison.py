"""Methods x budgets x seeds: equal tuning for all, paired seeds, one look at the test images, resumable."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from solvers import checks
from vispa.training.compare import Job, in_processes, run_job
from vispa.training.comparison_file import checked_path, read_comparison, write_comparison
from vispa.training.data.labelled_images import LabelledImages, fingerprint
from vispa.training.divergence import NonFiniteError
from vispa.training.execution import Execution
from vispa.training.loop import Stop
from vispa.training.recipes import METHODS
from vispa.training.report import as_plain
from vispa.training.run import Result
from vispa.training.tuning import RATES, TUNING_SEED, best_settings, judge, trial_settings, tuned_recipe


@dataclass(frozen=True)
class Plan:
    """What is compared.

    Attributes
    ----------
    methods : tuple of str
        Names in `vispa.training.recipes.METHODS`.
    epochs : tuple of int
        The budgets: lengths of the runs, each tuned for itself.
    seeds : int
        Runs of every method at every budget, under seeds 0 to ``seeds - 1``.
    trials : int
        Random trials of every method at every budget, as many by SGD as by Adam.
    train_size : int, optional
        Training images; all by default.
    model : str
        A name in `vispa.training.models.MODELS`.
    samples : int
        Networks drawn for the ensembles.
    tuning_seeds : int
        Seeds that judge a trial, by the mean of their validation accuracies.
    """

    methods: tuple[str, ...]
    epochs: tuple[int, ...] = (8,)
    seeds: int = 5
    trials: int = 4
    train_size: int | None = None
    model: str = "convolutional"
    samples: int = 10
    tuning_seeds: int = 3

    def __post_init__(self) -> None:
        for name in ("methods", "epochs"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise ValueError(f"{name} must name something, and nothing twice; found {values}")
        for method in self.methods:
            checks.choice("methods", method, METHODS)
        for epochs in self.epochs:
            checks.integer("epochs", epochs, minimum=1)
        checks.integer("seeds", self.seeds, minimum=1, maximum=TUNING_SEED)
        for name in ("trials", "samples", "tuning_seeds"):
            checks.integer(name, getattr(self, name), minimum=1)


class Task(NamedTuple):
    """One trial (``optimizer`` named, ``number`` its own) or one run (``number`` its seed)."""

    method: str
    epochs: int
    optimizer: str | None
    number: int

    @property
    def key(self) -> str:
        """Name in the file."""
        what = "seed" if self.optimizer is None else f"{self.optimizer}, trial"
        return f"{self.method}, {self.epochs} epochs, {what} {self.number}"


class Comparison:
    """Everything found so far, kept in one JSON file that is written after every trial and every run.

    A plan may grow between calls: what is there is not run again, save runs whose settings further trials have
    bettered.

    Parameters
    ----------
    plan : Plan
    path : path, optional
        Of the file; what it holds is taken up.  Without it everything stays in memory.

    Raises
    ------
    ValueError
        If the file is none of this library's comparisons, damaged, or of other settings that may not grow, or if
        none can lie there; in `run`, if it is of other data.
    """

    def __init__(self, plan: Plan, path: str | Path | None = None) -> None:
        self.plan = plan
        self.path = None if path is None else checked_path(path)
        self._fixed = {
            name: getattr(plan, name) for name in ("train_size", "model", "samples", "tuning_seeds")
        }
        self.found: dict[str, Any] = {"plan": self._fixed, "trials": {}, "runs": {}}
        if self.path is not None and self.path.exists():
            self.found = read_comparison(self.path, self._fixed)

    def run(
        self,
        data: LabelledImages,
        *,
        max_seconds: float | None = None,
        workers: int = 1,
        execution: Execution | None = None,
        callback: Callable[[int, int], None] | None = None,
    ) -> bool:
        """Do what is missing, and return whether all is done.

        Parameters
        ----------
        data : LabelledImages
            Split anew for every seed; the test part is the same for all.
        max_seconds : float, optional
            Then what is in progress is left, and nothing of it kept.
        workers : int, optional
            Trials or runs at a time, each in a process with one thread.  1 stays in this process.
        execution : Execution, optional
            Of every trial and run; with several workers they are plain ones, on the CPU.
        callback : callable, optional
            Called with the numbers of tasks done and of all tasks, after each.
        """
        limit = math.inf if max_seconds is None else checks.scalar("max_seconds", max_seconds, minimum=0.0)
        workers = checks.integer("workers", workers, minimum=1)
        if workers > 1 and execution is not None:
            raise ValueError(f"workers must be 1 where execution is given; found {workers}")
        known = self.found.setdefault("data", fingerprint(data))
        if known != fingerprint(data):
            raise ValueError(f"data must be those of {self.path}, which holds a comparison on others")
        do = partial(perform, data, plan=self.plan, deadline=time.monotonic() + limit)
        total = len(self.plan.methods) * len(self.plan.epochs) * (2 * self.plan.trials + self.plan.seeds)
        # Trials first: the settings of the runs are those that won them.
        for kind, missing in (("trials", self.missing_trials), ("runs", self.missing_runs)):
            tasks = missing()
            for index, record in _results(do, tasks, workers, execution):
                if record is None:
                    continue
                self.found[kind][tasks[index][0].key] = record
                self.save()
                if callback is not None:
                    callback(total - self.count_missing(), total)
        return self.count_missing() == 0

    def missing_trials(self) -> list[tuple[Task, dict[str, Any]]]:
        """Trials to do, with their settings; the numbers are outermost, so that a stop leaves equal budgets."""
        tasks = [
            Task(method, epochs, optimizer, number)
            for epochs in self.plan.epochs for number in range(self.plan.trials) for optimizer in RATES
            for method in self.plan.methods
        ]  # fmt: skip
        return [
            (task, trial_settings(task.method, task.number, str(task.optimizer)))
            for task in tasks
            if task.key not in self.found["trials"]
        ]

    def missing_runs(self) -> list[tuple[Task, dict[str, Any]]]:
        """Runs to do, seeds outermost, of methods all of whose trials are there."""
        tasks = [
            (Task(method, epochs, None, seed), self.chosen(method, epochs))
            for epochs in self.plan.epochs for seed in range(self.plan.seeds) for method in self.plan.methods
        ]  # fmt: skip
        return [
            (task, settings)
            for task, settings in tasks
            if settings is not None and self._settings_run(task) != settings
        ]

    def count_missing(self) -> int:
        """Trials and runs to do; runs of a method that diverged in every trial are none."""
        waiting = {(task.method, task.epochs) for task, _ in self.missing_trials()}
        return len(self.missing_trials()) + len(self.missing_runs()) + self.plan.seeds * len(waiting)

    def chosen(self, method: str, epochs: int) -> dict[str, Any] | None:
        """Settings that won the trials of a method; None before all are done, or where none did not diverge."""
        trials = [
            self.found["trials"].get(Task(method, epochs, optimizer, number).key)
            for optimizer in RATES for number in range(self.plan.trials)
        ]  # fmt: skip
        return None if None in trials else best_settings(trials)

    def runs(self, method: str, epochs: int) -> list[dict[str, Any]]:
        """Records of the finished runs of a method under the chosen settings, by seed."""
        chosen = self.chosen(method, epochs)
        tasks = [Task(method, epochs, None, seed) for seed in range(self.plan.seeds)]
        return [
            self.found["runs"][task.key]
            for task in tasks
            if chosen is not None and self._settings_run(task) == chosen
        ]

    def save(self) -> None:
        """Write the file: after a crash it holds the state before or this one.

        What another process has added to it since is kept, and taken up here.
        """
        if self.path is None:
            return
        if self.path.exists():
            there = read_comparison(self.path, self._fixed)
            for kind in ("trials", "runs"):
                self.found[kind] = {**there[kind], **self.found[kind]}
        write_comparison(self.path, self.found)

    def _settings_run(self, task: Task) -> dict[str, Any] | None:
        record = self.found["runs"].get(task.key)
        return None if record is None else record["settings"]


def perform(
    data: LabelledImages,
    task: tuple[Task, dict[str, Any]],
    *,
    plan: Plan,
    deadline: float,
    execution: Execution | None = None,
) -> dict[str, Any] | None:
    """Do one trial or one run, and return its record; None where the deadline comes first."""
    (method, epochs, optimizer, number), settings = task
    # what is left of the network before is in circles of references, and keeps memory from being given back
    gc.collect()
    if time.monotonic() >= deadline:
        return None
    chosen = tuned_recipe(method, settings, epochs=epochs, samples=plan.samples)
    known = {"method": method, "epochs": epochs, "number": number, "settings": settings}
    if optimizer is not None:
        record = judge(
            data,
            chosen,
            model=plan.model,
            seeds=plan.tuning_seeds,
            train_size=plan.train_size,
            execution=execution,
            deadline=deadline,
        )
        return None if record is None else known | record
    try:
        result = run_job(
            data,
            Job(chosen, number, plan.train_size),
            model=plan.model,
            deadline=deadline,
            execution=execution,
        )
    except NonFiniteError as error:
        return known | {"diverged": str(error)}
    return known | _record(result) if result.stop is Stop.FINISHED else None


def _record(result: Result) -> dict[str, Any]:
    assert result.best is not None
    assert result.probabilities is not None
    quality = {name: as_plain(getattr(result.probabilities, name)) for name in ("mean_network", "ensemble")}
    return {
        "best": result.best._asdict(), "test": as_plain(result.evaluation), "probabilities": quality,
        "curve": [[epoch.training_loss, epoch.validation_accuracy] for epoch in result.history],
        "seconds": result.seconds,
    }  # fmt: skip


def _results(
    do: Callable[..., dict[str, Any] | None],
    tasks: Sequence[tuple[Task, dict[str, Any]]],
    workers: int,
    execution: Execution | None,
) -> Iterator[tuple[int, dict[str, Any] | None]]:
    # one task alone, too: in this process it would have as many threads as torch has here, and another result
    if workers > 1 and tasks:
        return in_processes(do, tasks, workers)
    return ((index, do(task, execution=execution)) for index, task in enumerate(tasks))
