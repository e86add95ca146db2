"""The search for faults: it finds nothing, and it would find what it looks for."""

import dataclasses
import json
from fractions import Fraction

import numpy as np
import pytest

from solvers import low_rank
from solvers.problems.solution import Status
from solvers.testing import campaign as campaigns
from solvers.testing.campaign import campaign, format_report, judge, main
from solvers.testing.families import FAMILIES, draw


def test_nothing_is_false_in_any_family():
    report = campaign(seed=1, minutes=5.0, count=6, tol=1e-4)
    assert [found for found in report.findings if found["kind"] != "uncertified"] == []
    assert report.whole.problems == 6 * len(FAMILIES)
    assert "strongly regular" in format_report(report)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_seed_makes_its_problem_again(family):
    first, again = draw(family, 3, 5), draw(family, 3, 5)
    signs = np.ones(first.problem.n)
    assert first.problem.evaluate(signs) == again.problem.evaluate(signs)
    assert first.optimum == again.optimum


@pytest.mark.parametrize("family", ["strongly regular", "hamming", "johnson", "partition", "planted"])
def test_the_optimum_that_a_family_claims_is_reached(family):
    known = [posed for posed in (draw(family, 0, index) for index in range(40)) if posed.optimum is not None]
    assert len(known) > 5
    for posed in known[:8]:
        solution = low_rank(posed.problem, tol=1e-5, rng=0)
        scale = max(abs(solution.value), (solution.value - solution.lower_bound) / max(solution.gap, 1e-300))
        assert float(posed.optimum) == pytest.approx(solution.value, abs=1e-3 * scale + 1e-6)


def tampered(**changes):
    posed = draw("hamming", 0, 0)
    solution = low_rank(posed.problem, certificate="rigorous", rng=0)
    assert list(judge(posed, solution, 1e-6)) == []
    values = {name: change(getattr(solution, name)) for name, change in changes.items()}
    return {kind for kind, _ in judge(posed, dataclasses.replace(solution, **values), 1e-6)}


def test_what_is_wrong_is_found():
    assert tampered(value=lambda value: value * (1.0 + 1e-7)) == {"mismatches"}
    assert "mismatches" in tampered(factor=lambda factor: factor * (1.0 + 1e-6))
    assert tampered(lower_bound=lambda bound: bound * (1.0 - 1e-8)) == {"false"}
    assert tampered(lower_bound=lambda bound: bound * (1.0 + 1e-3)) == {"false"}
    assert tampered(dual=lambda dual: dual + np.arange(dual.size)) == {"false"}
    assert tampered(status=lambda status: Status.STALLED) == {"uncertified"}


def test_a_proof_above_the_exact_optimum_is_found_without_tolerance():
    posed = draw("planted", 0, 1)
    index = next(index for index in range(99) if draw("planted", 0, index).optimum is not None)
    posed = draw("planted", 0, index)
    solution = low_rank(posed.problem, certificate="rigorous", rng=0)
    above = dataclasses.replace(solution, lower_bound=float(np.nextafter(float(posed.optimum), np.inf)))
    assert Fraction(above.lower_bound) > posed.optimum
    assert "false" in {kind for kind, _ in judge(posed, above, 1e-6)}


def test_an_exception_is_a_finding(monkeypatch):
    def refuses(*_, **__):
        raise ZeroDivisionError("by a test")

    monkeypatch.setattr(campaigns, "low_rank", refuses)
    report = campaign(seed=0, minutes=1.0, families=["hamming"], count=2)
    assert report.whole.errors == 2
    assert "by a test" in format_report(report)


def test_totals_are_one_json_object(capsys):
    assert main(["--count", "2", "--family", "hamming", "--family", "graph", "--seed", "4"]) == 0
    written = capsys.readouterr()
    totals = json.loads(written.out)
    assert totals["totals"]["problems"] == 4
    assert totals["families"]["graph"]["false"] == 0
    assert "mismatches" in written.err
