"""The search for faults in binary layers: drawn layers hold, and what is false is found."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vispa
from vispa.quantization.campaign import KINDS, Totals, campaign, draw, format_report, judge, main


@settings(max_examples=30)
@given(kind=st.sampled_from(KINDS), seed=st.integers(1, 2**31), number=st.integers(0, 10**6))
def test_bounds_hold_and_sgn_is_never_better(kind, seed, number):
    drawn = draw(kind, seed, number)
    # 2^10 signs are enumerated in no time
    drawn = drawn._replace(weights=drawn.weights[:, :10], inputs=drawn.inputs[:, :10])
    layer = vispa.binary_layer(drawn.weights, inputs=drawn.inputs, group=drawn.group, bounds=True, workers=1)
    assert list(judge(drawn, layer, Totals())) == []


def test_what_is_false_is_found():
    drawn = draw("plain", 0, 9)._replace(group=None)
    layer = vispa.binary_layer(drawn.weights, inputs=drawn.inputs, bounds=True, workers=1)
    totals = Totals()
    assert list(judge(drawn, layer, totals)) == []
    assert totals.rows == totals.rows_of_one_scale == 2
    above = np.full(2, 1.0 + 1e-6)
    cases = {
        "false_scale_bounds": {"scale_bound": layer.error * above},
        "false_joint_bounds": {"joint_bound": layer.error * above},
        "above_sgn": {"error": 10.0 * layer.energy},
        "mismatches": {"error": 0.999 * layer.error},
    }
    assert np.all(layer.error > 1e-3 * layer.energy)
    for name, change in cases.items():
        totals = Totals()
        assert list(judge(drawn, replace(layer, **change), totals))
        assert getattr(totals, name) == 2, name


def test_the_command_reports_totals_and_faults(capsys, monkeypatch):
    assert main(["--count", "4", "--kind", "dead", "--kind", "orthogonal"]) == 0
    said = capsys.readouterr()
    totals = json.loads(said.out)
    assert totals["all"]["layers"] == 4
    assert totals["all"]["rows"] == 8
    assert totals["findings"] == []
    assert "orthogonal" in said.err

    def broken(*_, **__):
        raise ArithmeticError("nothing adds up")

    monkeypatch.setattr("vispa.quantization.campaign.binary_layer", broken)
    assert main(["--count", "1"]) == 1
    report = campaign(count=2, kinds=("tiny",))
    assert report.faults == report.whole.errors == 2
    assert "nothing adds up" in format_report(report)


@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_is_drawn_again_from_its_name(kind):
    one, two = draw(kind, 3, 17), draw(kind, 3, 17)
    assert np.array_equal(one.inputs, two.inputs)
    assert np.array_equal(one.weights, two.weights)
    assert np.isfinite(one.inputs.T @ one.inputs).all()
