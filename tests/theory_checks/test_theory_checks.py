"""Every claim holds under any seed, and what the runner reports is complete and honest."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from theory_checks.claim import Trial, Verdict, at_least, at_most, claim
from theory_checks.registry import CLAIMS, FAMILIES
from theory_checks.runner import ERROR_BUDGET, Report, run, select
from theory_checks.table import format_report


@pytest.fixture(scope="module")
def report() -> Report:
    return run(seed=0)


def toy(*measurements, error=None):
    """A claim that measures what it is told to."""

    @claim("T1", title="toy", statement="s", source="s", computed="c", falsified_by="f")
    def experiment(trial):
        yield from measurements
        if error is not None:
            raise error

    return experiment


def outcome_of(toy_claim):
    return toy_claim.check(Trial(np.random.default_rng(0)))


def test_every_claim_holds(report: Report) -> None:
    failed = {o.claim.identifier: o.error or [m for m in o.measurements if not m.met] for o in report.failed}
    assert failed == {}
    assert report.passed


@pytest.mark.parametrize("seed", [1, 2026])
def test_another_seed_does_not_flip_a_verdict(seed: int) -> None:
    quick = [identifier for identifier in CLAIMS if identifier not in {"R2", "R4", "S2", "V3", "V4"}]
    assert run(quick, seed=seed).passed


def test_monte_carlo_keeps_to_its_error_budget(report: Report) -> None:
    assert 0.0 < report.error_probability <= ERROR_BUDGET


def test_the_required_claims_are_registered_under_their_identifiers() -> None:
    required = {f"G{i}" for i in range(1, 5)} | {f"R{i}" for i in range(1, 6)}
    required |= {f"S{i}" for i in range(1, 4)} | {f"V{i}" for i in range(1, 4)}
    assert required <= set(CLAIMS)
    assert all(identifier == member.identifier for identifier, member in CLAIMS.items())
    assert sum(len(family) for family in FAMILIES.values()) == len(CLAIMS)


@pytest.mark.parametrize("identifier", CLAIMS)
def test_a_claim_says_what_it_claims(identifier: str) -> None:
    member = CLAIMS[identifier]
    for text in (member.title, member.statement, member.source, member.computed, member.falsified_by):
        assert len(text) > 15


def test_a_claim_measures_the_same_alone_as_in_company(report: Report) -> None:
    alone = run(["V1"], seed=0).outcomes[0]
    together = next(outcome for outcome in report.outcomes if outcome.claim.identifier == "V1")
    assert alone.measurements == together.measurements


def test_another_seed_measures_other_numbers() -> None:
    first, second = (run(["G1"], seed=seed).outcomes[0].measurements for seed in (0, 1))
    assert first != second


def test_the_run_leaves_the_global_generators_alone() -> None:
    import torch

    before, torch_before = np.random.get_state(legacy=False), torch.get_rng_state()  # noqa: NPY002
    run(["G1", "S2"])
    after = np.random.get_state(legacy=False)  # noqa: NPY002
    assert np.array_equal(before["state"]["key"], after["state"]["key"])
    assert torch.equal(torch_before, torch.get_rng_state())


def test_json_holds_each_claim_under_its_identifier(report: Report) -> None:
    found = json.loads(json.dumps(report.as_json(), allow_nan=False))
    assert list(found["claims"]) == list(CLAIMS)
    assert found["passed"] is True
    for entry in found["claims"].values():
        assert entry["verdict"] == "holds"
        assert entry["error"] is None
        for measurement in entry["measurements"]:
            below = measurement["measured"] <= measurement["bound"]
            above = measurement["measured"] >= measurement["bound"]
            assert measurement["met"] is (below if measurement["relation"] == "<=" else above)


def test_the_table_shows_every_measurement_beside_its_bound(report: Report) -> None:
    text = format_report(report)
    for outcome in report.outcomes:
        assert f"{outcome.claim.identifier:<4} holds" in text
        assert all(measurement.quantity in text for measurement in outcome.measurements)
    assert f"all {len(CLAIMS)} claims hold" in text
    assert "statement" not in text


def test_details_add_the_statement_and_what_would_refute_it() -> None:
    text = format_report(run(["G3"]), details=True)
    for word in ("statement", "source", "computed", "falsified by"):
        assert word in text


def test_a_missed_bound_fails_and_is_marked() -> None:
    outcome = outcome_of(toy(at_most("good", 0.0, 1.0), at_most("bad", 2.0, 1.0)))
    assert outcome.verdict is Verdict.FAILS
    report = Report(0, (outcome,))
    assert not report.passed
    assert "FAIL" in format_report(report)
    assert "! " in next(line for line in format_report(report).splitlines() if "bad" in line)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_meets_no_bound(number: float) -> None:
    assert not at_most("x", number, 1.0).met
    assert not at_least("x", number, 1.0).met
    assert at_most("x", number, 1.0).as_json()["measured"] is None


def test_an_experiment_that_breaks_down_fails_with_its_reason() -> None:
    outcome = outcome_of(toy(at_most("good", 0.0, 1.0), error=RuntimeError("out of paper")))
    assert outcome.verdict is Verdict.FAILS
    assert outcome.error == "RuntimeError: out of paper"
    assert "out of paper" in format_report(Report(0, (outcome,)))


def test_an_experiment_that_measures_nothing_fails() -> None:
    outcome = outcome_of(toy())
    assert outcome.verdict is Verdict.FAILS
    assert outcome.error == "nothing was measured"


def test_a_run_over_its_error_budget_does_not_pass() -> None:
    outcome = outcome_of(toy(at_most("x", 0.0, 1.0, error_probability=1e-3)))
    assert outcome.verdict is Verdict.HOLDS
    assert not Report(0, (outcome,)).passed


def test_bounds_and_probabilities_are_checked() -> None:
    with pytest.raises(ValueError, match="bound must be finite"):
        at_most("x", 0.0, math.inf)
    with pytest.raises(ValueError, match="error_probability"):
        at_most("x", 0.0, 1.0, error_probability=1.0)


def test_names_select_claims_and_families() -> None:
    assert [member.identifier for member in select(["v2", "gauge"])] == ["G1", "G2", "G3", "G4", "G5", "V2"]
    with pytest.raises(ValueError, match=r"one of G1, .*straight-through.*found 'Q9'"):
        select(["Q9"])
    assert select("r3") == select(["R3"])
    with pytest.raises(ValueError, match="at least one"):
        run([])
    with pytest.raises(ValueError, match="seed"):
        run(["G1"], seed=-1)


def test_a_slow_run_takes_more_samples_and_says_so() -> None:
    usual, slow = run(["V4"], seed=0), run(["V4"], seed=0, slow=True)
    assert slow.passed
    assert slow.as_json()["slow"] is True
    assert usual.as_json()["slow"] is False
    # Eight times the samples: radii nearly sqrt(8) times smaller.
    ratio = usual.outcomes[0].measurements[0].bound / slow.outcomes[0].measurements[0].bound
    assert 2.5 < ratio < 3.2
