"""Results of a comparison as a table for people and as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from vispa.nn import Accuracies
from vispa.training.run import Result
from vispa.training.statistics import PairedDifference, Summary, paired_difference, summarise

# One binary network each, then what takes many.
SINGLE = ("mean_network", "best_network")
MANY = ("sampled_network", "ensemble")
QUALITY = ("nll", "ece", "auroc")
EXPLANATION = (
    "Test accuracy in %, mean ± standard deviation over seeds. Signs moved: the share in % that differs from the\n"
    "start. One network: sgn(mean) as it stands (float: the network itself), and the best of L drawn networks,\n"
    "chosen on validation. Drawn: the average accuracy of one drawn network, and L networks averaged. Difference:\n"
    "sgn(mean) of {first} minus this row's, seed by seed, with Student's 95 % interval; it speaks of the\n"
    "variation between seeds, not between test sets, and is not corrected for several comparisons."
)
PROBABILITIES = (
    "Probabilities on the test images: negative log-likelihood, expected calibration error in %, and the area\n"
    "in % under the curve that tells test images from collages of four of them by the largest probability.\n"
    "Ensemble: the drawn networks' probabilities averaged."
)


def methods(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Finished results by method, in order of appearance, each sorted by seed.

    Raises
    ------
    ValueError
        If a method has two results under one seed: rows are named by methods, and would mix two recipes.
    """
    groups: dict[str, list[Result]] = {}
    known: set[tuple[str, int]] = set()
    for result in results:
        group = groups.setdefault(result.recipe.method, [])
        if (result.recipe.method, result.seed) in known:
            raise ValueError(
                f"results must hold a method once under each seed; found {result.recipe.method!r} twice under seed "
                f"{result.seed}: report recipes of one method apart"
            )
        known.add((result.recipe.method, result.seed))
        if result.evaluation is not None:
            group.append(result)
    return {method: sorted(group, key=lambda result: result.seed) for method, group in groups.items()}


def summary(results: Sequence[Result], measure: str) -> Summary | None:
    """Mean and deviation of one measure of `vispa.nn.Accuracies`; None where there is none to report."""
    values = [getattr(_evaluation(result), measure) for result in results]
    return None if not values or math.isnan(values[0]) else summarise(values)


def difference(first: Sequence[Result], second: Sequence[Result]) -> PairedDifference | None:
    """Paired difference of the sgn(mean) networks over the seeds that both have finished."""
    ours = {result.seed: _evaluation(result).mean_network for result in first}
    theirs = {result.seed: _evaluation(result).mean_network for result in second}
    seeds = sorted(ours.keys() & theirs.keys())
    return paired_difference([ours[s] for s in seeds], [theirs[s] for s in seeds]) if seeds else None


def table(results: Sequence[Result]) -> str:
    """Lay the methods out side by side; the first is compared with each of the others."""
    groups = methods(results)
    first, samples = next(iter(groups)), max(result.recipe.samples for result in results)
    header = f"{'':10}  {'signs':>8}  {'one network':^26}  {'drawn':^26}  {'difference':>22}"
    names = (
        f"{'method':10}  {'moved':>8}  {'sgn(mean)':>12}  {f'best of {samples}':>12}  "
        f"{'average':>12}  {'ensemble':>12}  {first + ' minus it':>22}"
    )
    rows = [
        f"{method:10}  {_moved(group):>8}  "
        + "  ".join(f"{_percent(summary(group, measure)):>12}" for measure in SINGLE + MANY)
        + f"  {_interval(difference(groups[first], group) if method != first else None):>22}"
        for method, group in groups.items()
    ]
    return "\n".join([header.rstrip(), names, *rows])


def probability_table(results: Sequence[Result]) -> str:
    """Lay out what the probabilities of each method are worth, of one network and of the ensemble."""
    columns = f"{'nll':>14}  {'ece':>12}  {'auroc':>12}"
    rows = [
        f"{method:10}  " + "  ".join(_quality_cells(group, which) for which in ("mean_network", "ensemble"))
        for method, group in methods(results).items()
    ]
    header = f"{'':10}  {'one network':^42}  {'ensemble':^42}".rstrip()
    return "\n".join([header, f"{'method':10}  {columns}  {columns}", *rows])


def _quality_cells(results: Sequence[Result], which: str) -> str:
    nll, ece, auroc = (quality_summary(results, which, measure) for measure in ("nll", "ece", "auroc"))
    return f"{_plain_number(nll):>14}  {_percent(ece):>12}  {_percent(auroc):>12}"


def quality_summary(results: Sequence[Result], which: str, measure: str) -> Summary | None:
    """Mean and deviation of one measure of `vispa.nn.Quality`, of ``"mean_network"`` or the ``"ensemble"``."""
    found = [getattr(result.probabilities, which) for result in results if result.probabilities is not None]
    values = [getattr(each, measure) for each in found if each is not None]
    return summarise(values) if values else None


def as_json(results: Sequence[Result]) -> dict[str, Any]:
    """Runs, summaries and paired differences; what is undefined is null."""
    groups = methods(results)
    first = next(iter(groups))
    return {
        "runs": [_run(result) for result in results],
        "summary": {
            method: {
                "signs_moved": signs_moved(group),
                **{measure: as_plain(summary(group, measure)) for measure in SINGLE + MANY},
                "probabilities": {
                    which: {measure: as_plain(quality_summary(group, which, measure)) for measure in QUALITY}
                    for which in ("mean_network", "ensemble")
                },
            }
            for method, group in groups.items()
        },
        "paired_differences": [
            {"first": first, "second": method, "measure": "mean_network", **(as_plain(found) or {})}
            for method, group in groups.items()
            if method != first and (found := difference(groups[first], group)) is not None
        ],
    }


def _run(result: Result) -> dict[str, Any]:
    return {
        "recipe": asdict(result.recipe),
        "model": result.model,
        "seed": result.seed,
        "training_images": result.training_images,
        "status": result.stop.name.lower(),
        "message": result.stop.message,
        "epochs": [epoch._asdict() for epoch in result.history],
        "best": None if result.best is None else result.best._asdict(),
        "test": as_plain(result.evaluation),
        "probabilities": None
        if result.probabilities is None
        else {
            which: as_plain(getattr(result.probabilities, which)) for which in ("mean_network", "ensemble")
        },
        "seconds": result.seconds,
    }


def as_plain(record: Any) -> dict[str, Any] | None:
    """Return a dataclass as a dict fit for JSON, which has no nan."""
    if record is None:
        return None
    fields = asdict(record).items()
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in fields}


def _evaluation(result: Result) -> Accuracies:
    assert result.evaluation is not None
    return result.evaluation


def signs_moved(results: Sequence[Result]) -> float | None:
    """Mean share of signs that differ from those at the start, in the epochs that were chosen."""
    shares = [result.best.signs_moved for result in results if result.best is not None]
    return sum(shares) / len(shares) if shares else None


def _moved(results: Sequence[Result]) -> str:
    share = signs_moved(results)
    return "-" if share is None else f"{100 * share:.1f}"


def _percent(found: Summary | None) -> str:
    return "-" if found is None else found.text(factor=100)


def _plain_number(found: Summary | None) -> str:
    return "-" if found is None else found.text(3)


def _interval(found: PairedDifference | None) -> str:
    return "-" if found is None else found.text(factor=100)
