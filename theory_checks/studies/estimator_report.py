"""The estimator study as Markdown."""

from __future__ import annotations

from typing import Any

from theory_checks.studies.estimator_cases import CORRELATIONS, LOSSES
from theory_checks.studies.estimator_measure import ESTIMATORS
from theory_checks.studies.record import footer, table

Cells = dict[tuple[str, float, str], dict[str, Any]]

COMMAND = "python -m theory_checks.studies.estimators --output DIR"
PLAIN = "quadratic, A_ii = 0"
_MISSING = dict.fromkeys(("noise", "evaluations", "seconds"), float("nan"))
SHOWN = (
    "deterministic",
    "straight-through",
    "through EDE, t = 10",
    "at mean",
    "rao-blackwell",
    "conditional",
)


def report(study: dict[str, Any]) -> list[str]:
    """Markdown of a study."""
    cells: Cells = {(c["loss"], c["correlation"], c["estimator"]): c for c in study["cells"]}
    lines = [
        "# Straight-through estimators against the exact gradient",
        "",
        footer(study, _command(study)),
        "",
    ]
    lines += [_setting(study), ""]
    for title, loss, quantity in (
        ("Share of wrong signs, %, quadratics without a diagonal", PLAIN, "wrong_signs"),
        ("Share of wrong signs, %, the same quadratics with A_ii as large as their rows", "quadratic, A_ii = 1",
         "wrong_signs"),
        ("Cosine with the truth, quadratics without a diagonal", PLAIN, "cosine"),
        ("Whole rows (mean, z, s), tangent to the gauge: cosine, the same quadratics", PLAIN, "row_cosine"),
    ):  # fmt: skip
        lines += [f"## {title}", "", *_over_correlations(cells, loss, quantity), ""]
    lines += ["## Share of wrong signs, %, by loss, at correlation 0 and 0.75", "", *_over_losses(cells), ""]
    lines += ["## Price of one draw and of one unit of signal, quadratics without a diagonal", ""]
    lines += [
        "Evaluations are points at which the loss or its gradient is computed; seconds are processor time on one "
        "thread. Noise is the deviation of one draw over the length of its mean. The price is noise squared times "
        "evaluations: what an average costs whose deviation equals its mean.",
        "",
        *_prices(cells),
        "",
    ]
    return lines + _deterministic(study["deterministic"])


def _command(study: dict[str, Any]) -> str:
    return f"{COMMAND} --repeats {study['repeats']} --draws {study['draws']}"


def _setting(study: dict[str, Any]) -> str:
    return (
        f"{study['weights']} weights w = sgn(mean + z g + s e) in the gauge, E[w_i] uniform in (-0.9, 0.9); any "
        "two latents have the correlation at the head of the column, up to its sign; at 1 no weight has noise of "
        "its own, as in the published VISPA layer. The truth is the gradient of E[L(w)] with respect to the "
        f"means, by enumeration. {study['repeats']} random instances a cell, {study['draws']} draws an "
        f"estimator. A sign is wrong where the mean of the draws is {study['significance']} standard errors on the "
        "wrong side of zero; the error beside a share is over instances."
    )


def _entry(cell: dict[str, Any] | None, quantity: str) -> str:
    if cell is None:
        return ""
    if quantity == "wrong_signs":
        return f"{100 * cell[quantity]:.1f} ± {100 * cell['wrong_signs_error']:.1f}"
    return f"{cell[quantity]:.3f}"


def _over_correlations(cells: Cells, loss: str, quantity: str) -> list[str]:
    rows = [
        [name, *(_entry(cells.get((loss, correlation, name)), quantity) for correlation in CORRELATIONS)]
        for name in ESTIMATORS
    ]
    return table(["estimator", *(f"{correlation:g}" for correlation in CORRELATIONS)], rows)


def _over_losses(cells: Cells) -> list[str]:
    rows = [
        [f"{loss}; {correlation:g}"]
        + [_entry(cells.get((loss, correlation, name)), "wrong_signs") for name in SHOWN]
        for loss in LOSSES
        for correlation in (0.0, 0.75)
    ]
    return table(["loss; correlation", *SHOWN], rows)


def _prices(cells: Cells) -> list[str]:
    rows = []
    for name in ESTIMATORS:
        row = [name]
        for correlation in (0.0, 0.75):
            cell = cells.get((PLAIN, correlation, name), _MISSING)
            price = cell["noise"] ** 2 * cell["evaluations"]
            row += [f"{cell['noise']:.2f}", f"{price:.1f}"] if cell["noise"] > 0 else ["none", ""]
        cell = cells.get((PLAIN, 0.75, name), _MISSING)
        rows.append([*row, f"{cell['evaluations']:.0f}", f"{1e6 * cell['seconds']:.2f}"])
    header = ["estimator", "noise at 0", "price", "noise at 0.75", "price", "evaluations", "µs a draw"]
    return table(header, rows)


def _deterministic(shares: list[dict[str, float]]) -> list[str]:
    twelve = next(entry for entry in shares if entry["n"] == 12)
    rows = [
        [f"{e['n']}", *(f"{100 * e[name]:.2f}" for name in ("share", "standard_error", "closed_form"))]
        for e in shares
    ]
    return [
        "## The deterministic estimator, independent weights, Gaussian couplings",
        "",
        "The sign of the gradient at sgn(mean) is wrong with probability arccos(|m|_1 / (sqrt(n - 1) |m|_2)) / pi, "
        "m the means of the other n - 1 weights: 1/6 for uniform means and many weights. "
        f"At n = 12: {100 * twelve['share']:.1f} % measured, {100 * twelve['closed_form']:.1f} % in closed form.",
        "",
        *table(["n", "measured, %", "standard error", "closed form, %"], rows),
    ]
