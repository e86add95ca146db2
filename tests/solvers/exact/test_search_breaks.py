"""Wherever a search is broken off, no node is lost, and what it was to write is known to be writable at once."""

import sys
import zipfile

import numpy as np
import pytest

from solvers import MaxCut, SearchEnd, TreeEnd, branch_and_bound, brute_force
from solvers.branching import bounding, checkpoint, first_point, tree
from solvers.branching.bounding import Bounded
from solvers.branching.node import root_node
from solvers.branching.tree import Tree
from solvers.cuts.tighten import Tuning
from solvers.problems.integer_form import integer_form, merged_weights

WEIGHTS = np.triu(np.random.default_rng(0).integers(-3, 4, (8, 8)), 1)
PROBLEM = MaxCut(WEIGHTS + WEIGHTS.T)


def new_tree():
    form = integer_form(PROBLEM)
    point = np.ones(form.order, np.int64)
    return Tree(form, root_node(np.eye(form.order)), point, gap=0.0, allowed=0.0, record=False)


def step(growing):
    """Split every node of more than six signs, enumerate the others."""
    task = growing.next_task(np.inf, Tuning())
    node = task.node
    weights, constant = merged_weights(task.weights, node.labels, node.flips)
    outcome = bounding._enumerated(node, weights, constant)
    if node.order > 6:
        outcome = Bounded(node, -1e3 + node.number, False, (0, 1), outcome.point, outcome.energy, None, 0)
    growing.take(outcome, 0.0)


def drive(growing):
    while growing.open:
        step(growing)
    return [(node.number, node.parent, node.pair, node.finished) for node in growing.bounded], growing.best


class Interrupt:
    """Ctrl-C at one line of the tree's own code, counted from its first."""

    def __init__(self, line):
        self.left = line

    def __enter__(self):
        self.before = sys.gettrace()
        sys.settrace(lambda frame, *_: self.local if frame.f_code.co_filename == tree.__file__ else None)

    def __exit__(self, *_):
        sys.settrace(self.before)

    def local(self, _frame, event, _):
        if event == "line":
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
        return self.local


@pytest.mark.parametrize("earlier", [0, 1, 3])
def test_an_interrupt_at_any_line_loses_no_node(tmp_path, earlier):
    whole, best = drive(new_tree())
    assert len(whole) == 7
    path, line, fired = tmp_path / "search.npz", 0, True
    while fired:
        line += 1
        growing = new_tree()
        for _ in range(earlier):
            step(growing)
        growing.best = growing.form.energy(growing.point)
        try:
            with Interrupt(line):
                step(growing)
            fired = False
        except KeyboardInterrupt:
            growing.give_back()
        assert growing.best == growing.form.energy(growing.point)
        assert growing.lower_bound <= best, line
        checkpoint.save(growing, path, 0.0)
        resumed = new_tree()
        checkpoint.load(resumed, path)
        assert drive(resumed) == drive(growing) == (whole, best), line
    assert line > 20


def test_an_interrupt_before_the_first_node_ends_the_search(monkeypatch):
    search = first_point.tabu_search

    def interrupted(*arguments, **options):
        from dataclasses import replace

        return replace(search(*arguments, **options), status=SearchEnd.INTERRUPTED)

    monkeypatch.setattr(first_point, "tabu_search", interrupted)
    found = branch_and_bound(PROBLEM, rng=0)
    assert found.status is TreeEnd.INTERRUPTED
    assert (found.nodes, found.certificate) == (0, "none")
    assert found.value >= brute_force(PROBLEM).value


@pytest.mark.parametrize("name", ["missing/search.npz", "."])
def test_a_checkpoint_that_cannot_be_written_is_refused_before_the_work(tmp_path, name):
    seen = []
    with pytest.raises((OSError, ValueError), match=r"folder|directory"):
        branch_and_bound(PROBLEM, checkpoint=tmp_path / name, callback=seen.append, rng=0)
    assert seen == []


def damaged(content):
    yield from (content[:cut] for cut in (0, 1, 10, len(content) // 2, len(content) - 5))
    for place in range(0, len(content), 97):
        yield content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]


def test_damaged_checkpoints_are_refused_by_name_or_read_as_they_were(tmp_path):
    path = tmp_path / "search.npz"
    best = branch_and_bound(PROBLEM, checkpoint=path, rng=0).value
    refusals = []
    for content in damaged(path.read_bytes()):
        path.write_bytes(content)
        try:
            found = branch_and_bound(PROBLEM, checkpoint=path, rng=0).value
        except ValueError as error:
            refusals.append(str(error))
        else:
            assert found == best
    assert len(refusals) > 10
    assert all(message.startswith("checkpoint ") for message in refusals)


@pytest.mark.parametrize("header", ["{}", "[]", "3", '{"format": 1}', "no json"])
def test_other_headers_are_refused_by_name(tmp_path, header):
    np.savez(tmp_path / "search.npz", header=np.array(header))
    with pytest.raises(ValueError, match="checkpoint must be a file that branch_and_bound wrote"):
        branch_and_bound(PROBLEM, checkpoint=tmp_path / "search.npz", rng=0)


def test_a_search_goes_on_with_another_seed_where_data_are_real(tmp_path, monkeypatch):
    """The allowed gap is a share of the first point's value, and another seed finds another first point."""
    rng = np.random.default_rng(1)
    upper = np.triu(rng.standard_normal((24, 24)), 1)
    problem, path = MaxCut(upper + upper.T), tmp_path / "search.npz"

    def stop(moment):
        raise StopIteration

    branch_and_bound(problem, checkpoint=path, callback=stop, rng=0)
    tabu = first_point.tabu_search
    monkeypatch.setattr(first_point, "tabu_search", lambda p, s, **_: tabu(p, s, max_iterations=1))
    found = branch_and_bound(problem, checkpoint=path, rng=1)
    assert found.optimal
    assert zipfile.is_zipfile(path)
    with pytest.raises(ValueError, match="gap differs"):
        branch_and_bound(problem, checkpoint=path, gap=0.1, rng=0)
