"""The relaxation study as Markdown."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from theory_checks.studies.record import footer, table
from theory_checks.studies.relaxation_measure import MIXTURES, RANKS, ROUNDINGS, STARTS, WIDTHS

COMMAND = "python -m theory_checks.studies.relaxation --output DIR"


def report(study: dict[str, Any]) -> list[str]:
    """Markdown of a study."""
    lines = [
        "# What rank buys",
        "",
        footer(study, f"{COMMAND} --repeats {study['repeats']}"),
        "",
        _setting(study),
        "",
    ]
    for name, instances in study["quadratics"].items():
        lines += [f"## {name}", "", *_quadratics(instances), "", _ranks(instances), ""]
    lines += [
        "## One-hidden-layer binary network",
        "",
        _network_setting(study),
        "",
        *_networks(study["networks"]),
    ]
    lines += ["", "## Variational bounds at T = 1", "", _ENTROPIES, ""]
    for name, found in study["entropies"].items():
        lines += [f"### {name}", "", f"-log Z = {found['free_energy']:.4f}", "", *_entropies(found), ""]
    return lines[:-1]


def _setting(study: dict[str, Any]) -> str:
    return (
        f"Quadratics with {study['weights']} weights, {study['repeats']} instances a family. Heights: 0 is the "
        "binary optimum by enumeration, 1 the mean over the cube; a bound is below 0. Width k is a factor with k "
        "columns, K = k - 1 where the mean column counts, fitted by descent from random starts that nothing "
        f"escapes from ({STARTS} starts; the value and bound are their means). Roundings are homogeneous, the best "
        f"of {ROUNDINGS}, from the lowest start; 'searched' adds a one-flip search to each. K = 0 are one-flip "
        "minima from random points: the factorised family has no gap, but local minima (S5)."
    )


def _mean(values: list[float]) -> str:
    return f"{np.mean(values):.4f}"


def _quadratics(instances: list[dict[str, Any]]) -> list[str]:
    header = [
        "",
        "value",
        "bound",
        "starts at the SDP, %",
        "expected rounding",
        "best rounding",
        "searched",
        "optimum found, %",
    ]
    rows = [
        ["K = 0", _mean([i["factorised"]["mean"] for i in instances]), "", "", "", "",
         _mean([i["factorised"]["best"] for i in instances]),
         _share([i["factorised"]["best"] for i in instances])]
    ]  # fmt: skip
    for width in map(str, WIDTHS):
        at = [i["widths"][width] for i in instances]
        rows.append([f"k = {width}", *_row(at), *_rounding([a["rounded"] for a in at])])
    sdp = [{"value": i["sdp"], "bound": i["bound"], "reached": 1.0} for i in instances]
    rows.append(["SDP", *_row(sdp), *_rounding([i["rounded"] for i in instances])])
    return table(header, rows)


def _row(at: list[dict[str, Any]]) -> list[str]:
    reached = f"{100 * np.mean([a['reached'] for a in at]):.0f}"
    return [_mean([a["value"] for a in at]), _mean([a["bound"] for a in at]), reached]


def _rounding(at: list[dict[str, float]]) -> list[str]:
    means = [_mean([a[name] for a in at]) for name in ("expected", "best", "searched")]
    return [*means, _share([a["searched"] for a in at])]


def _share(heights: list[float]) -> str:
    return f"{100 * np.mean(np.array(heights) < 1e-9):.0f}"


def _ranks(instances: list[dict[str, Any]]) -> str:
    counts = sorted(Counter(i["rank"] for i in instances).items())
    listed = ", ".join(f"{rank} ({count} of {len(instances)})" for rank, count in counts)
    return f"Rank of the optimum: {listed}; Barvinok and Pataki allow {instances[0]['barvinok_pataki']}."


def _network_setting(study: dict[str, Any]) -> str:
    explained = [100 * i["explained"] for i in study["networks"]]
    found = [i["quadratic"] for i in study["networks"]]
    return (
        f"{study['network_weights']} binary weights in two layers, tanh units, {study['repeats']} instances, "
        "heights as above: `minimize` at T = 0 by rank and estimator, the best point seen and the signs of the "
        f"final mean. The best quadratic approximation over the cube explains {np.mean(explained):.0f} % of the "
        f"variance of L; the best of {ROUNDINGS} signs drawn from its SDP's Gaussian has height "
        f"{np.mean(found):.3f} ({100 * np.mean(np.array(found) < 1e-9):.0f} % optimal)."
    )


def _networks(instances: list[dict[str, Any]]) -> list[str]:
    rows = []
    for estimator in ("straight-through", "conditional"):
        for rank in map(str, RANKS):
            at = [i["ranks"][rank][estimator] for i in instances]
            best, centre = ([a[name] for a in at] for name in ("best", "centre"))
            rows.append(
                [f"{estimator}, K = {rank}", _mean(best), _share(best), _mean(centre), _share(centre)]
            )
    return table(["", "best point", "optimal, %", "sgn(mean)", "optimal, %"], rows)


_ENTROPIES = (
    "E[L] - H_M above -log Z in nats, at the law fitted with M = 64, by rank K and M. M = 0 is the conditional "
    "bound, whose optimum over every K is mean field, the first row; the last column is the law's own E[L] - H, by "
    "enumeration."
)


def _entropies(found: dict[str, Any]) -> list[str]:
    rows = []
    for rank, at in found["ranks"].items():
        row = [f"K = {rank}"]
        for mixtures in map(str, MIXTURES):
            bound = at["bounds"][mixtures]
            error = f" ± {bound['standard_error']:.4f}" if bound["standard_error"] > 0 else ""
            row.append(f"{bound['gap']:.4f}{error}")
        rows.append([*row, "" if at["true"] is None else f"{at['true']:.4f}"])
    return table(["", *(f"M = {mixtures}" for mixtures in MIXTURES), "true"], rows)
