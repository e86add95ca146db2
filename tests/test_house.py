"""Files and functions that stay in the head, and docstrings whose first line says what a thing is or does."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("solvers", "vispa", "theory_checks")
SOURCES = [
    path for name in (*PACKAGES, "benchmarks", "examples") for path in sorted((ROOT / name).rglob("*.py"))
]
LONGEST_FILE, LONGEST_FUNCTION = 300, 50
# A first line that begins so says nothing without what stands above it, or speaks of the code in the third person.
WITHOUT_SUBJECT = re.compile(
    r"(Its|It|As|This|These|Those|That|The same|Same|Also|Like|Nothing|And|But|Of|So)\b"
    r"|(Returns|Attaches|Computes|Creates|Makes|Gets|Gives|Sets|Solves|Draws|Writes|Reads|Loads|Saves|Finds)\b"
    r"|\S*[.;:]?$"
)


def relative(path):
    return path.relative_to(ROOT).as_posix()


def functions(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def lines(function):
    """Lines of a function, its signature included and its docstring apart."""
    first = function.body[0]
    documented = ast.get_docstring(function) is not None
    return function.end_lineno - function.lineno + 1 - documented * (first.end_lineno - first.lineno + 1)


def too_long(tree):
    return {function.name for function in functions(tree) if lines(function) > LONGEST_FUNCTION}


def first_lines(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module):
            text = ast.get_docstring(node)
            if text is not None:
                yield text.split("\n", 1)[0]


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_files_and_functions_stay_in_the_head(path):
    text = path.read_text()
    assert len(text.splitlines()) <= LONGEST_FILE
    assert too_long(ast.parse(text)) == set()


@pytest.mark.parametrize("path", [p for p in SOURCES if relative(p).split("/")[0] in PACKAGES], ids=relative)
def test_first_lines_of_docstrings_have_a_subject(path):
    assert [line for line in first_lines(ast.parse(path.read_text())) if WITHOUT_SUBJECT.match(line)] == []


def test_what_is_too_long_or_says_nothing_is_noticed():
    body = "\n".join("    x = 0" for _ in range(LONGEST_FUNCTION))
    assert too_long(ast.parse(f'def f():\n    """One\n\n    two."""\n{body}')) == {"f"}
    shorter = body.rsplit("\n", 1)[0]
    assert too_long(ast.parse(f'def f():\n    """One\n\n    two."""\n{shorter}')) == set()
    for line in ("The same for a tensor.", "Its eigenvector.", "As of a tensor.", "Returns the sum.", "N."):
        assert WITHOUT_SUBJECT.match(line)
    for line in (
        "The smallest eigenvalue.",
        "Return the sum.",
        "Signs and scales.",
        "Assignments of weights.",
    ):
        assert not WITHOUT_SUBJECT.match(line)


def test_what_is_marked_slow_exists():
    tree = ast.parse((ROOT / "tests" / "conftest.py").read_text())
    assigned = {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    there = {
        place
        for path in (ROOT / "tests").rglob("test_*.py")
        for place in (*path.relative_to(ROOT / "tests").parts[:-1], path.stem)
    }
    assert set(ast.literal_eval(assigned["SLOW"])) <= there
