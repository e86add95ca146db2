"""Break a public function, and a claim that rests on it must fail: by a measured number, not by breaking down."""

import ast

import numpy as np
import pytest

from theory_checks.mutation.mutants import function_at, installed, mutants_of
from theory_checks.mutation.operators import variants
from theory_checks.mutation.subjects import SUBJECTS
from theory_checks.mutation.table import Table, explanations
from theory_checks.mutation.verdicts import Kill, examine, uses, verdict_of
from theory_checks.registry import CLAIMS
from vispa.gaussian.sign_gaussian import SignGaussian

TABLE = Table.read()


@pytest.mark.parametrize("claim", CLAIMS)
def test_every_claim_notices_a_mutant_of_the_table(claim: str) -> None:
    identifier = TABLE.sample[claim]
    subject = identifier.split(" | ")[0]
    mutant = next((mutant for mutant in mutants_of(subject) if mutant.identifier == identifier), None)
    assert mutant is not None, f"{identifier} is no more: run python -m theory_checks.mutate"
    with np.errstate(all="ignore"):
        assert verdict_of(mutant, claim) == "measured"


def test_survivors_are_those_that_are_explained() -> None:
    reasons = explanations()
    assert set(reasons) == set(TABLE.survivors)
    assert all(len(reason) > 20 for reason in reasons.values())


def test_survivors_are_still_what_the_operators_make_of_the_source() -> None:
    subjects = {name.split(" | ")[0] for name in TABLE.survivors}
    made = {mutant.identifier for subject in subjects for mutant in mutants_of(subject)}
    assert set(TABLE.survivors) <= made


def test_most_mutants_are_noticed_by_a_measured_number() -> None:
    kills = [kill for kill in TABLE.kills.values() if kill is not None]
    measured = sum(kill.how == "measured" for kill in kills)
    assert {name.split(" | ")[0] for name in TABLE.kills} <= set(SUBJECTS)
    assert {kill.claim for kill in kills} <= set(CLAIMS)
    assert measured > 2 / 3 * len(TABLE.kills)
    assert len(TABLE.survivors) < 0.16 * len(TABLE.kills)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f(x): y = x.square()", ["exponent: x.square() -> x"]),
        ("def f(x): y = np.sqrt(x)", ["exponent: np.sqrt(x) -> x"]),
        ("def f(x): y = x ** 3", ["exponent: x ** 3 -> x ** (3 + 1)", "constant: 3 -> 4"]),
        ("def f(x): y = -x", ["sign: -x -> x"]),
        ("def f(a, b): y = a - b", ["sign: a - b -> a + b", "dropped term: a - b -> a"]),
        ("def f(a, b): y = a / b", ["dropped term: a / b -> a"]),
        ("def f(x): y = x >= 0.0", ["comparison: x >= 0.0 -> x > 0.0", "constant: 0.0 -> 1.0"]),
        ("def f(x): y = 2.0", ["constant: 2.0 -> 2.02"]),
        ("def f(x): y = x[1:, -1]", []),
        ("def f(x): y = x.mean(axis=1)", []),
        ("def f(x): y = checks.integer('n', x, minimum=1)", []),
        ("def f(x): raise ValueError(f'{x + 1}')", []),
        ("def f(x): return x", ["result: x -> -x", "result: x -> 1.01 * x"]),
    ],
)
def test_operators_break_formulas_and_leave_the_rest(source: str, expected: list[str]) -> None:
    (tree,) = ast.parse(source).body
    made = [
        variant.describe()
        for variant in variants(tree)
        if variant.operator != "result" or "result" in str(expected)
    ]
    assert made == expected


def test_a_mutant_acts_wherever_the_function_was_imported_and_leaves_no_trace() -> None:
    from vispa.gaussian import orthant
    from vispa.gaussian.orthant import sign_mean

    before = function_at("vispa.gaussian.orthant:sign_mean").__code__
    negated = next(m for m in mutants_of("vispa.gaussian.orthant:sign_mean") if m.change.startswith("result"))
    with installed(negated):
        assert sign_mean(1.0) < 0
        assert SignGaussian([1.0], None, [1.0]).mean_signs()[0] < 0
    assert sign_mean(1.0) > 0
    assert orthant.sign_mean.__code__ is before


def test_methods_properties_and_static_methods_can_be_broken() -> None:
    for subject in (
        "vispa.gaussian.sign_gaussian:SignGaussian.factorised",
        "vispa.nn.weights.autograd:ScaledSign.forward",
        "vispa.gaussian.sign_gaussian:SignGaussian.n",
    ):
        assert function_at(subject).__code__.co_name == subject.rpartition(".")[2]
    with pytest.raises(ValueError, match="must name a function"):
        list(mutants_of("vispa.gaussian.sign_gaussian:SignGaussian.nothing"))
    with pytest.raises(ValueError, match="no class 'Nobody'"):
        list(mutants_of("vispa.gaussian.sign_gaussian:Nobody.nothing"))


def test_a_claim_is_asked_only_about_what_it_runs() -> None:
    subjects = ["vispa.gaussian.orthant:sign_mean", "vispa.optim.update:flipped"]
    found = uses(subjects, [CLAIMS["B2"], CLAIMS["S1"]])
    assert found["B2"].subjects == {"vispa.optim.update:flipped"}
    assert found["S1"].subjects == {"vispa.gaussian.orthant:sign_mean"}


def test_a_measured_number_counts_for_more_than_a_breakdown() -> None:
    mutants = {mutant.change: mutant for mutant in mutants_of("vispa.optim.update:flipped")}
    mutant = mutants["comparison: score > threshold -> score >= threshold"]
    assert examine(mutant, ["B1", "B2"]) == Kill("B2", "measured")
    assert examine(mutant, ["B1"]) is None
