"""Quadratic forms over {0, 1}: BiqMac, MQLib and OR-Library, of one layout and two senses.

All three list each pair once and count it twice: an entry i j q with i != j stands for q_ij and q_ji.
"""

from __future__ import annotations

from collections.abc import Iterator

import scipy.sparse as sp

from solvers.io.columns import header, symmetric_matrix
from solvers.io.edge_list import (
    COMMENTS,
    EdgeList,
    has_diagonal,
    looks_like_an_edge_list,
    read_edge_list,
    write_edge_list,
)
from solvers.io.format import Fit, Format, all_integers, data_lines
from solvers.io.text import Lines, refuse
from solvers.problems.problem import BinaryQuadratic, Problem

# The constant of a form that came from {0, 1} variables is zero up to rounding, in units of the largest entry.
_NO_CONSTANT = 1e-12


def _fit(head: list[str]) -> Fit:
    if not looks_like_an_edge_list(head):
        return Fit.NO
    return Fit.LIKELY if has_diagonal(head) else Fit.POSSIBLE


def _one_list(lines: Lines, last: bool = True) -> EdgeList:
    return read_edge_list(lines, "variables", "entries", "variable", last=last)


def _problem(lines: Lines, found: EdgeList, maximise: bool) -> BinaryQuadratic:
    matrix = symmetric_matrix(lines.name, found.entries, found.order, "entry")
    return BinaryQuadratic.from_qubo(matrix, maximise=maximise)


def qubo_only(name: str, problem: Problem, *, maximise: bool) -> sp.csr_array:
    """Q of a problem that is min x^T Q x over {0, 1}, or max, as format ``name`` has it."""
    if not isinstance(problem, BinaryQuadratic):
        raise TypeError(f"{name} files state a BinaryQuadratic; found {type(problem).__name__}")
    if problem.maximised is not maximise:
        sense, other = ("maximise", "minimised") if maximise else ("minimise", "maximised")
        raise ValueError(f"{name} files {sense}; this problem is {other}: negate it to write it as such")
    matrix, constant = problem.to_qubo()
    matrix = sp.csr_array(matrix)
    if abs(constant) > _NO_CONSTANT * abs(matrix).sum():
        raise ValueError(
            f"{name} files have no place for a constant; found {constant:g}: subtract it, write, and add it to "
            "every value read off"
        )
    return matrix


def _write_one(name: str, maximise: bool, problem: Problem) -> Iterator[str]:
    yield from write_edge_list(qubo_only(name, problem, maximise=maximise))


def _fit_or_library(head: list[str]) -> Fit:
    lines = data_lines(head, COMMENTS)
    is_it = all_integers(next(lines, []), 1) and all_integers(next(lines, []), 2)
    return Fit.LIKELY if is_it and len(next(lines, [""] * 3)) == 3 else Fit.NO


def _read_or_library(lines: Lines) -> BinaryQuadratic:
    start, text = lines.next_line(COMMENTS) or (0, "")
    (count,) = header(lines.name, start, text.split(), ("the number of problems",))
    if count < 1:
        refuse(lines.name, start, f"the number of problems must be at least 1; found {count}")
    wanted = lines.problem
    if wanted is None and count > 1:
        refuse(lines.name, start, f"the file holds {count} problems: name one of them, as in {lines.name}:1")
    wanted = 1 if wanted is None else wanted
    if not 1 <= wanted <= count:
        refuse(lines.name, start, f"problem {wanted} is asked for; the file holds {count}, counted from 1")
    for _ in range(wanted - 1):
        _one_list(lines, last=False)
    return _problem(lines, _one_list(lines, last=wanted == count), maximise=True)


def _write_or_library(problem: Problem) -> Iterator[str]:
    matrix = qubo_only("or-library", problem, maximise=True)
    yield "1"
    yield from write_edge_list(matrix)


BIQMAC = Format(
    "biqmac",
    "min x^T Q x over {0,1}: n m, then i j q, each pair once and counted twice",
    (".sparse", ".bq"),
    _fit,
    lambda lines: _problem(lines, _one_list(lines), maximise=False),
    lambda problem: _write_one("biqmac", False, problem),
)
MQLIB_QUBO = Format(
    "mqlib-qubo",
    "max x^T Q x over {0,1}: n m, then i j q, each pair once and counted twice",
    (),
    _fit,
    lambda lines: _problem(lines, _one_list(lines), maximise=True),
    lambda problem: _write_one("mqlib-qubo", True, problem),
)
OR_LIBRARY = Format(
    "or-library",
    "max x^T Q x over {0,1}, several a file (bqp50.txt:3): their number, then as mqlib-qubo",
    (".bqp",),
    _fit_or_library,
    _read_or_library,
    _write_or_library,
    holds_several=True,
)
