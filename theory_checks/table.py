"""A report as text for people: each claim, then what was measured beside its bound."""

from __future__ import annotations

import textwrap

from theory_checks.claim import Measurement, Outcome
from theory_checks.runner import Report

WIDTH = 110
_INDENT = " " * 5


def format_report(report: Report, *, details: bool = False) -> str:
    """Lay out the table; with ``details`` also each claim's statement, source, method and falsifier."""
    parts = [_format_outcome(outcome, details=details) for outcome in report.outcomes]
    return "\n".join([*parts, "", _summary(report)])


def _summary(report: Report) -> str:
    failed = [outcome.claim.identifier for outcome in report.failed]
    verdict = (
        f"{len(failed)} of {len(report.outcomes)} claims FAIL: {', '.join(failed)}"
        if failed
        else ("the claim holds" if len(report.outcomes) == 1 else f"all {len(report.outcomes)} claims hold")
    )
    seconds = sum(outcome.seconds for outcome in report.outcomes)
    return (
        f"{verdict}  (seed {report.seed}, {seconds:.1f} s, "
        f"chance of a false alarm at most {report.error_probability:.1e})"
    )


def _format_outcome(outcome: Outcome, *, details: bool) -> str:
    claim = outcome.claim
    lines = [f"{claim.identifier:<4} {outcome.verdict.value:<5}  {claim.title}"]
    if details:
        described = {
            "statement": claim.statement,
            "source": claim.source,
            "computed": claim.computed,
            "falsified by": claim.falsified_by,
        }
        for name, text in described.items():
            lines += textwrap.wrap(
                text, WIDTH, initial_indent=f"{_INDENT}{name:<13}", subsequent_indent=_INDENT + " " * 13
            )
    if outcome.error:
        lines.append(f"{_INDENT}the experiment broke down: {outcome.error}")
    lines += [_format_measurement(measurement) for measurement in outcome.measurements]
    return "\n".join(lines)


def _format_measurement(measurement: Measurement) -> str:
    mark = " " if measurement.met else "!"
    numbers = f"{_number(measurement.measured)} {measurement.relation} {_number(measurement.bound)}"
    chance = measurement.error_probability
    suffix = f"  [error probability {chance:.0e}]" if chance else ""
    return f"   {mark} {numbers}  {measurement.quantity}{suffix}"


def _number(value: float) -> str:
    return f"{value:>10.3e}" if value != 0 and (abs(value) < 1e-3 or abs(value) >= 1e5) else f"{value:>10.4g}"
