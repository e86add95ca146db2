"""The search for false proofs: it finds none, and it would find them."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers import TreeEnd, branch_and_bound
from solvers.testing import proof_campaign as campaigns
from solvers.testing.proof_campaign import FAMILIES, draw, judge, main, proof_campaign


@settings(max_examples=30)
@given(st.sampled_from(sorted(FAMILIES)), st.integers(0, 2**32 - 1))
def test_no_proof_is_false(family, seed):
    report = proof_campaign(seed=seed, count=2, families=[family])
    assert report.findings == []
    assert report.whole.problems == 2


def kinds(family, index, **changes):
    problem = draw(family, 0, index)
    solution = branch_and_bound(problem, proof=True, rng=0)
    assert list(judge(problem, solution)) == []
    values = {name: change(getattr(solution, name)) for name, change in changes.items()}
    return {kind for kind, _ in judge(problem, dataclasses.replace(solution, **values))}


@pytest.fixture(params=["whole", "real"])
def family(request):
    return request.param


def test_what_is_wrong_is_found(family):
    index = next(index for index in range(99) if 4 <= draw(family, 0, index).n <= 12)
    assert "false" in kinds(family, index, lower_bound=lambda bound: bound + 1e-3 * abs(bound))
    assert "false" in kinds(
        family, index, signs=lambda signs: np.where(np.arange(signs.size) == 2, -signs, signs)
    )
    assert kinds(family, index, value=lambda value: value * (1.0 + 1e-6)) == {"mismatches"}
    assert kinds(family, index, gap=lambda _: 1e-3) == {"false"}
    assert kinds(family, index, status=lambda _: TreeEnd.TIME_LIMIT) == {"uncertified"}


def test_a_proof_that_says_too_much_is_found():
    problem = draw("whole", 0, next(index for index in range(99) if draw("whole", 0, index).n > 6))
    solution = branch_and_bound(problem, proof=True, rng=0)
    leaves = [node for node in solution.tree if node.leaf is not None]
    raised = leaves[0].leaf.proof._replace(dual=leaves[0].leaf.proof.dual + 1.0)
    other = leaves[0]._replace(leaf=leaves[0].leaf._replace(proof=raised))
    tree = tuple(other if node is leaves[0] else node for node in solution.tree)
    found = list(judge(problem, dataclasses.replace(solution, tree=tree)))
    assert [kind for kind, _ in found] == ["false"]
    assert "refused" in found[0][1]


def test_large_whole_numbers_leave_room_for_what_writing_a_proof_loses():
    # energies of 5e7 in steps of two: a bound that ends the node by a hair does not once it is rounded
    problem = draw("whole", 2028, 436)
    assert list(judge(problem, branch_and_bound(problem, proof=True, rng=436))) == []


def test_an_exception_is_a_finding(monkeypatch):
    def refuses(*_, **__):
        raise ZeroDivisionError("by a test")

    monkeypatch.setattr(campaigns, "branch_and_bound", refuses)
    assert proof_campaign(seed=0, count=2, families=["ties"]).whole.errors == 2


def test_totals_are_one_json_object(capsys):
    assert main(["--count", "2", "--family", "ties", "--family", "nothing", "--seed", "4"]) == 0
    written = capsys.readouterr()
    assert json.loads(written.out)["totals"]["problems"] == 4
    assert "nothing" in written.err
