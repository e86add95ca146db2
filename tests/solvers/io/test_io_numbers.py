"""Numbers that float64 does not hold are refused where they stand; proofs would be about other numbers."""

import numpy as np
import pytest

from solvers import MaxCut, read_problem, write_problem

SDPA = "2\n1\n2\n1 1\n0 1 1 2 {}\n1 1 1 1 1\n2 1 2 2 1\n"
FILES = {
    "rudy": ("2 1\n1 2 {}\n", 2),
    "qbsolv": ("p qubo 0 2 2 1\n0 0 1\n1 1 1\n0 1 {}\n", 4),
    "mtx-graph": ("%%MatrixMarket matrix coordinate real symmetric\n2 2 1\n2 1 {}\n", 3),
    "sdpa": (SDPA, 5),
    "or-library": ("1\n2 1\n1 2 {}\n", 3),
    "dimacs": ("p edge 2 1\ne 1 2 {}\n", 2),
}


@pytest.mark.parametrize("format_name", FILES)
@pytest.mark.parametrize(
    ("token", "words"),
    [
        ("9007199254740993", "found the integer '9007199254740993': write 9007199254740992.0 if"),
        ("-18446744073709551617", "found the integer"),
        ("1e-400", "within the range of float64; found '1e-400', which is below it"),
        ("-0.0001E-330", "which is below it"),
        ("1e400", "expected a finite number"),
    ],
)
def test_numbers_out_of_reach_are_refused_by_line(tmp_path, format_name, token, words):
    path = tmp_path / "problem.txt"
    text, line = FILES[format_name]
    path.write_text(text.format(token))
    with pytest.raises(ValueError, match=f"problem.txt, line {line}: .*{words}"):
        read_problem(path, format=format_name)


@pytest.mark.parametrize("format_name", FILES)
@pytest.mark.parametrize(
    "token", ["9007199254740994", "18446744073709551616", "0", "-0.000", "0e5", "1e-300", "00"]
)
def test_numbers_that_it_holds_are_read(tmp_path, format_name, token):
    path = tmp_path / "problem.txt"
    path.write_text(FILES[format_name][0].format(token))
    read_problem(path, format=format_name)


def test_what_is_written_is_never_refused(tmp_path):
    path = tmp_path / "graph.rud"
    for weight in (2.0**53, 2.0**70, 1e22, 1.2345678901234567e300, 5e-324, -0.1):
        write_problem(MaxCut([[0, weight], [weight, 0]]), path)
        np.testing.assert_array_equal(read_problem(path).graph.toarray(), [[0, weight], [weight, 0]])


def test_problems_of_a_file_are_counted_from_one(tmp_path):
    path = tmp_path / "several.txt"
    path.write_text("1\n2 1\n1 2 5\n")
    with pytest.raises(ValueError, match="problem 0 is asked for; the file holds 1, counted from 1"):
        read_problem(f"{path}:0")
    assert read_problem(f"{path}:1").n == 2
