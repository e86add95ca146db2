"""The file readers: round trips, real files, and a named line for every kind of damage."""

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers import Elliptope, MaxCut, read_problem, read_rudy, read_sdpa

SDPA = """\
"a comment
 3 = mDIM
 1 = nBLOCK
 3
{1.0, 1.0, 1.0}
0 1 1 1 2.0
0 1 1 3 -0.5
1 1 1 1 1.0
2 1 3 3 1.0
3 1 2 2 1.0
"""


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "problem.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@settings(max_examples=50)
@given(st.integers(1, 12), st.integers(0, 2**31))
def test_rudy_round_trip(tmp_path_factory: pytest.TempPathFactory, n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = np.triu(np.where(rng.random((n, n)) < 0.5, rng.standard_normal((n, n)), 0.0), 1)
    rows, columns = np.nonzero(weights)
    lines = [f"{n} {rows.shape[0]}"]
    lines += [
        # Either order of the two ends is an edge.
        f"{b + 1} {a + 1} {weights[a, b]!r}" if flip else f"{a + 1}\t{b + 1}  {weights[a, b]!r}"
        for a, b, flip in zip(rows, columns, rng.integers(2, size=rows.shape[0]), strict=True)
    ]
    text = "\n".join(line.replace("np.float64(", "").replace(")", "") for line in lines)
    path = write(tmp_path_factory.mktemp("rudy"), text)
    for problem in (read_rudy(path), read_problem(path)):
        assert isinstance(problem, MaxCut)
        np.testing.assert_array_equal(problem.graph.toarray(), weights + weights.T)


def test_sdpa_becomes_minus_its_cost(tmp_path: Path) -> None:
    path = write(tmp_path, SDPA)
    for problem in (read_sdpa(path), read_problem(path)):
        assert isinstance(problem, Elliptope)
        assert problem.maximised
        assert not problem.homogenised
        np.testing.assert_array_equal(
            problem.cost.toarray(), [[-2.0, 0.0, 0.5], [0.0, 0.0, 0.0], [0.5, 0.0, 0.0]]
        )


def test_sdpa_may_fix_the_diagonal_to_other_numbers(tmp_path: Path) -> None:
    """Constraint 3 is about entry 2: 4 Y_22 = 10."""
    text = SDPA.replace("{1.0, 1.0, 1.0}", "{3.0, 1.0, 10.0}").replace("3 1 2 2 1.0", "3 1 2 2 4.0")
    problem = read_problem(write(tmp_path, text))
    np.testing.assert_array_equal(problem.diagonal, [3.0, 2.5, 1.0])


def test_line_endings_and_blank_lines_do_not_matter(tmp_path: Path) -> None:
    plain = read_rudy(write(tmp_path, "2 1\n1 2 3\n")).graph.toarray()
    windows = read_rudy(write(tmp_path, "\r\n 2 1\r\n\r\n1 2 3\r\n")).graph.toarray()
    np.testing.assert_array_equal(plain, windows)


def test_paths_may_be_strings_and_graphs_without_edges_exist(tmp_path: Path) -> None:
    assert read_problem(str(write(tmp_path, "4 0\n"))).graph.nnz == 0


RUDY_DAMAGE = {
    "0-based": ("3 1\n0 1 1\n", r"line 2: vertex must be from 1 to 3; found 0 \(indices start at 1\)"),
    "beyond n": ("3 1\n1 4 1\n", r"line 2: vertex must be from 1 to 3; found 4"),
    "overflowing index": ("3 1\n1 99999999999999999999999 1\n", r"line 2: vertex must be from 1 to 3"),
    "digits beyond conversion": (f"3 1\n1 {'9' * 5000} 1\n", r"line 2: vertex must be from 1 to 3"),
    "overflowing order": ("99999999999999999999999 1\n1 2 1\n", r"line 1: .*64 bits"),
    "huge order": ("999999999999 1\n1 2 1\n", r"line 1: the number of vertices must be from 1 to 100000000"),
    "no vertices": ("0 0\n", r"line 1: the number of vertices must be from 1"),
    "self-loop": ("3 2\n1 2 1\n2 2 1\n", r"line 3: a self-loop"),
    "duplicate": ("3 3\n1 2 1\n1 3 1\n2 1 5\n", r"line 4: this edge was given before"),
    "truncated": ("3 3\n1 2 1\n1 3 1\n", r"line 1: 3 edges are announced; found 2"),
    "too many": ("3 1\n1 2 1\n1 3 1\n", r"line 1: 1 edges are announced; found 2"),
    "negative count": ("3 -1\n", r"line 1: -1 edges are announced"),
    "truncated line": ("3 2\n1 2 1\n1 3\n", r"line 3: expected 3 fields .*found 2"),
    "long line": ("3 1\n1 2 1 1\n", r"line 2: expected 3 fields .*found 4"),
    "nan": ("3 1\n1 2 nan\n", r"line 2: expected a finite number; found 'nan'"),
    "infinite": ("3 2\n1 2 1\n1 3 1e999\n", r"line 3: expected a finite number; found '1e999'"),
    "word": ("3 1\n1 2 heavy\n", r"line 2: expected a finite number; found 'heavy'"),
    "underscore": ("3 1\n1 2 1_0\n", r"line 2: expected a finite number; found '1_0'"),
    "underscored index": ("30 1\n1_0 2 1\n", r"line 2: vertex must be an integer; found '1_0'"),
    "real index": ("3 1\n1 2.0 1\n", r"line 2: vertex must be an integer; found '2.0'"),
    "header of words": ("n m\n1 2 1\n", r"line 1: the number of vertices must be an integer"),
    "header too short": ("3\n1 2 1\n", r"line 1: expected the number of vertices and the number of edges"),
    "empty": ("", r"the file is empty"),
    "blank": (" \n\n", r"the file is empty"),
    "binary": (b"3 1\n\xff\xfe", r"byte 4 is not ASCII"),
    "NUL": (b"3 1\n1 2 \0\n", r"NUL"),
}


@pytest.mark.parametrize("damage", RUDY_DAMAGE)
def test_damaged_rudy_files_are_refused_by_line(tmp_path: Path, damage: str) -> None:
    text, message = RUDY_DAMAGE[damage]
    path = write(tmp_path, text)
    with pytest.raises(ValueError, match=message) as caught:
        read_rudy(path)
    assert str(caught.value).startswith(str(path))


SDPA_DAMAGE = {
    "several blocks": (
        "1 = nBLOCK\n 3\n",
        "2 = nBLOCK\n 2 -1\n",
        r"line 4: one block .*2 blocks of sizes 2 -1",
    ),
    "diagonal block": ("\n 3\n{", "\n -3\n{", r"line 4: the size of the block .*found -3 .*diagonal"),
    "fewer constraints": (" 3 = mDIM", " 2 = mDIM", r"line 2: 2 constraints cannot fix the 3"),
    "short c": ("{1.0, 1.0, 1.0}", "{1.0, 1.0}", r"line 5: c must have 3 entries.*found 2"),
    "other right-hand side": (
        "{1.0, 1.0, 1.0}",
        "{1.0, -2.0, 1.0}",
        r"line 5: constraint 2 fixes a diagonal entry to -2",
    ),
    "infinite c": ("{1.0, 1.0, 1.0}", "{1.0, inf, 1.0}", r"line 5: expected a finite number"),
    "off-diagonal constraint": (
        "3 1 2 2 1.0",
        "3 1 1 2 1.0",
        r"line 10: a constraint has an off-diagonal entry",
    ),
    "trace constraint": ("3 1 2 2 1.0\n", "3 1 2 2 1.0\n3 1 1 1 1.0\n", r"line 11: .*more than one diagonal"),
    "fixed twice": ("3 1 2 2 1.0", "3 1 3 3 1.0", r"line 10: a second constraint on the same diagonal entry"),
    "constraint without entries": ("3 1 2 2 1.0\n", "", r"constraint 3 has no entries"),
    "duplicate entry": (
        "0 1 1 3 -0.5\n",
        "0 1 1 3 -0.5\n0 1 3 1 1\n",
        r"line 8: this entry of F_0",
    ),
    "matrix number": ("3 1 2 2 1.0", "4 1 2 2 1.0", r"line 10: matrix must be from 0 to 3; found 4"),
    "block number": ("3 1 2 2 1.0", "3 2 2 2 1.0", r"line 10: block must be from 1 to 1; found 2"),
    "0-based": ("0 1 1 1 2.0", "0 1 0 0 2.0", r"line 6: row must be from 1 to 3; found 0"),
    "nan": ("0 1 1 1 2.0", "0 1 1 1 nan", r"line 6: expected a finite number"),
    "truncated line": ("3 1 2 2 1.0", "3 1 2 2", r"line 10: expected 5 fields .*found 4"),
}


@pytest.mark.parametrize("damage", SDPA_DAMAGE)
def test_other_sdpa_files_are_refused_by_line(tmp_path: Path, damage: str) -> None:
    old, new, message = SDPA_DAMAGE[damage]
    assert old in SDPA
    path = write(tmp_path, SDPA.replace(old, new))
    with pytest.raises(ValueError, match=message) as caught:
        read_problem(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("lines", [1, 2, 3, 4])
def test_sdpa_cut_off_in_its_header(tmp_path: Path, lines: int) -> None:
    path = write(tmp_path, "\n".join(SDPA.split("\n")[:lines]))
    with pytest.raises(ValueError, match="header"):
        read_sdpa(path)


def test_files_that_cannot_be_opened_raise_the_system_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_problem(tmp_path / "absent")
    with pytest.raises(IsADirectoryError):
        read_problem(tmp_path)


def test_a_corrupt_header_does_not_ask_for_its_memory(tmp_path: Path) -> None:
    path = write(tmp_path, "90000000 5\n1 2 1\n")
    tracemalloc.start()
    with pytest.raises(ValueError, match="5 edges are announced; found 1"):
        read_problem(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


@pytest.mark.shared_data
def test_real_files_are_read_whole(shared_data: Path) -> None:
    optima = json.loads((shared_data / "optima.json").read_text())
    for path in sorted((shared_data / "gset").glob("G*")):
        if path.name not in optima:
            continue
        problem = read_problem(path)
        order, edges = map(int, path.read_text().split(maxsplit=2)[:2])
        assert isinstance(problem, MaxCut)
        assert (problem.n, problem.graph.nnz) == (order, 2 * edges)
    names = {"maxG11": 800, "maxG51": 1000, "mcp100": 100, "mcp250-1": 250, "mcp500-2": 500}
    for name, order in names.items():
        problem = read_problem(shared_data / "sdplib" / f"{name}.dat-s")
        assert isinstance(problem, Elliptope)
        assert problem.size == order
        assert problem.maximised


@pytest.mark.shared_data
def test_the_same_graph_in_both_formats(shared_data: Path) -> None:
    graph = read_problem(shared_data / "gset" / "G51").relaxation().cost
    program = read_problem(shared_data / "sdplib" / "maxG51.dat-s").cost
    assert abs(graph - program).max() == 0
