"""Intervals against SciPy and against their definition: coverage."""

import math

import numpy as np
import pytest
import scipy.stats

from vispa.training.statistics import paired_difference, summarise


def test_summary_of_known_values():
    summary = summarise([1.0, 2.0, 4.0])
    assert summary.mean == pytest.approx(7 / 3)
    assert summary.deviation == pytest.approx(math.sqrt(7 / 3))
    assert summary.count == 3


def test_one_value_has_no_deviation():
    assert math.isnan(summarise([0.5]).deviation)
    single = paired_difference([0.5], [0.25])
    assert single.mean == 0.25
    assert math.isnan(single.lower)
    assert math.isnan(single.upper)


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_interval_equals_that_of_scipy(confidence):
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 7))
    ours = paired_difference(first, second, confidence=confidence)
    theirs = scipy.stats.ttest_rel(first, second).confidence_interval(confidence)
    assert (ours.lower, ours.upper) == pytest.approx((theirs.low, theirs.high), rel=1e-12)


def test_interval_covers_as_often_as_stated():
    rng = np.random.default_rng(1)
    trials = 2000
    shared = 10 * rng.normal(size=(trials, 5))
    first, second = shared + rng.normal(size=(trials, 5)) + 0.3, shared + rng.normal(size=(trials, 5))
    intervals = [paired_difference(a, b, confidence=0.9) for a, b in zip(first, second, strict=True)]
    covered = sum(interval.lower <= 0.3 <= interval.upper for interval in intervals)
    assert abs(covered / trials - 0.9) < 4 * math.sqrt(0.09 / trials)


def test_equal_values_give_an_interval_of_no_width():
    result = paired_difference([0.5, 0.5], [0.25, 0.25])
    assert (result.lower, result.mean, result.upper) == (0.25, 0.25, 0.25)


@pytest.mark.parametrize(
    ("first", "second", "options", "message"),
    [
        ([], [], {}, "first must not be empty"),
        ([1.0], [1.0, 2.0], {}, "pair up"),
        ([1.0, math.nan], [1.0, 2.0], {}, "first must be finite"),
        ([1.0, 2.0], [1.0, 2.0], {"confidence": 1.0}, "confidence"),
        ([1.0, 2.0], [1.0, 2.0], {"confidence": 0.0}, "confidence"),
    ],
)
def test_bad_input_is_named(first, second, options, message):
    with pytest.raises(ValueError, match=message):
        paired_difference(first, second, **options)
