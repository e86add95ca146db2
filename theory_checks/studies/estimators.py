"""Where straight-through estimators are right, where their sign is wrong, and by how much.

    python -m theory_checks.studies.estimators --output docs/studies

Every estimator of the library against the exact gradient of E[L(w)] by enumeration, over the correlation of the
weights, the curvature of the loss and losses beyond quadratics.  About seven minutes on one core.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from theory_checks.studies import record
from theory_checks.studies.estimator_cases import CORRELATIONS, LOSSES, SIZE, posterior, rows_of
from theory_checks.studies.estimator_measure import (
    ESTIMATORS,
    SIGNIFICANCE,
    Quality,
    measure,
    truth_of,
)
from theory_checks.wrong_signs import closed_form_share, simulated_share
from vispa.estimators.registry import Estimator, GradientEstimator

Array = NDArray[np.float64]
Cells = dict[tuple[str, float, str], list[Quality]]


def run(
    *,
    seed: int = 0,
    repeats: int = 8,
    draws: int = 8_000,
    estimators: Mapping[str, Estimator] | None = None,
) -> dict[str, Any]:
    """Measure every estimator on every loss and correlation.

    Parameters
    ----------
    seed : int, optional
        Of all laws, losses and draws.
    repeats : int, optional
        Random instances a cell, each with its own law and loss, the same for all estimators.
    draws : int, optional
        Samples an estimator and instance.
    estimators : mapping of str to callable, optional
        What is measured, by name; `ESTIMATORS` by default. Yours are called ``estimator(loss, rows, draw)``, a
        `GradientEstimator` with ``needs_residual`` not where the residual is zero.

    Returns
    -------
    dict
        Plain values, ready for JSON: settings and one entry a cell with means over the instances.  Ctrl-C ends
        the study with the cells that are finished.
    """
    cells: Cells = {}
    work = [(loss, correlation) for loss in LOSSES for correlation in CORRELATIONS]
    try:
        for loss, correlation in tqdm(work, unit="cell", disable=None):
            cells.update(_cells(loss, correlation, seed, repeats, draws, estimators or ESTIMATORS))
    except KeyboardInterrupt:
        tqdm.write(f"interrupted: {len(cells)} cells are finished", file=sys.stderr)
    return {
        **record.provenance(),
        "seed": seed,
        "repeats": repeats,
        "draws": draws,
        "weights": SIZE,
        "significance": SIGNIFICANCE,
        "cells": [_summary(key, found) for key, found in cells.items()],
        "deterministic": _deterministic(seed),
    }


def _cells(
    loss: str, correlation: float, seed: int, repeats: int, draws: int, estimators: Mapping[str, Estimator]
) -> Cells:
    """Every estimator on the same instances of one loss at one correlation."""
    cells: Cells = {}
    for repeat in range(repeats):
        # The same law and loss at every correlation, and one A at every diagonal: nothing else changes.
        rng = np.random.default_rng([seed, repeat, *loss.partition(",")[0].encode()])
        law, function = posterior(rng, correlation), LOSSES[loss](rng)
        rows = rows_of(law)
        truth = truth_of(function, law, rows.shape[1])
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        for name, estimator in estimators.items():
            if correlation == 1.0 and isinstance(estimator, GradientEstimator) and estimator.needs_residual:
                continue
            found = measure(estimator, function, rows, truth, draws, generator)
            cells.setdefault((loss, correlation, name), []).append(found)
    return cells


def _summary(key: tuple[str, float, str], found: Sequence[Quality]) -> dict[str, Any]:
    names = [name for name in asdict(found[0]) if name != "bias"]
    values = {name: np.array([getattr(quality, name) for quality in found]) for name in asdict(found[0])}
    summary = {name: float(values[name].mean()) for name in names}
    summary["bias"] = float(np.median(values["bias"]))
    # Of the mean of one instance a term; a share is the mean of 8 signs.
    errors = {f"{name}_error": _standard_error(values[name]) for name in ("cosine", "wrong_signs")}
    return {"loss": key[0], "correlation": key[1], "estimator": key[2], **summary, **errors}


def _standard_error(values: Array) -> float:
    return float(values.std(ddof=1) / math.sqrt(values.size)) if values.size > 1 else 0.0


def _deterministic(seed: int) -> list[dict[str, float]]:
    """Wrong signs of the gradient at sgn(mean), beside their closed form, by the number of weights."""
    found = []
    for n in (2, 3, 6, 12, 24, 48):
        rng = np.random.default_rng([seed, n])
        share, error = simulated_share(rng, n, problems=2000)
        means = rng.uniform(-1.0, 1.0, size=(20_000, n))
        found.append(
            {"n": n, "share": share, "standard_error": error, "closed_form": closed_form_share(means)}
        )
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run the study and write its files."""
    parser = record.parser(__doc__.splitlines()[0], repeats=8)
    parser.add_argument(
        "--draws", type=int, default=8_000, metavar="N", help="samples an estimator and instance"
    )
    arguments = parser.parse_args(argv)
    from theory_checks.studies.estimator_plot import save_plot
    from theory_checks.studies.estimator_report import report

    torch.set_num_threads(1)
    study = run(seed=arguments.seed, repeats=arguments.repeats, draws=arguments.draws)
    stem = record.write(arguments.output, "estimators", study, report(study))
    save_plot(stem.with_suffix(".png"), study)
    sys.stdout.write(f"{stem.with_suffix('.md')}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
