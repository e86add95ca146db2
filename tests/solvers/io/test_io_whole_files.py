"""A file that is being written is the old one until it is the whole new one."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from solvers import MaxCut, branch_and_bound, read_problem, write_problem
from solvers.io.registry import FORMATS

TRIANGLE = MaxCut([[0, 1, 2], [1, 0, 3], [2, 3, 0]])


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


@pytest.mark.parametrize("name", ["graph.mtx", "graph.mtx.gz", "graph.mtx.xz"])
def test_a_write_that_fails_half_way_leaves_the_file_that_was_there(tmp_path, monkeypatch, name):
    path = tmp_path / name
    write_problem(TRIANGLE, path, format="mtx-graph")
    before = path.read_bytes()

    def broken(problem):
        yield "a first line"
        raise MemoryError

    monkeypatch.setitem(FORMATS, "mtx-graph", replace(FORMATS["mtx-graph"], write=broken))
    with pytest.raises(MemoryError):
        write_problem(MaxCut([[0, 1], [1, 0]]), path, format="mtx-graph")
    assert path.read_bytes() == before
    assert names(tmp_path) == [name]


def test_links_devices_and_permissions_stay_what_they_are(tmp_path):
    real, link = tmp_path / "real.mtx", tmp_path / "link.mtx"
    write_problem(TRIANGLE, real, format="mtx-graph")
    real.chmod(0o600)
    link.symlink_to(real)
    write_problem(MaxCut([[0, 1], [1, 0]]), link, format="mtx-graph")
    assert link.is_symlink()
    assert read_problem(real, format="mtx-graph").n == 2
    assert real.stat().st_mode & 0o777 == 0o600
    write_problem(TRIANGLE, os.devnull, format="mtx-graph")
    assert Path(os.devnull).is_char_device()


@pytest.mark.parametrize("name", ["missing/file.json", "."])
def test_what_cannot_be_written_is_said_by_name(tmp_path, name):
    solution = branch_and_bound(TRIANGLE, proof=True, rng=0)
    with pytest.raises(OSError, match=r"folder.*" + tmp_path.name):
        solution.write_proof(tmp_path / name)
    with pytest.raises(OSError, match=r"folder.*" + tmp_path.name):
        write_problem(TRIANGLE, tmp_path / name, format="rudy")
