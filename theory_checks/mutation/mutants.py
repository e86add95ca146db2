"""The mutants of a list of functions, each under a name that survives edits elsewhere, and how to put one in."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from theory_checks.mutation.operators import variants

__all__ = ["Mutant", "function_at", "installed", "mutants_of"]


@dataclass(frozen=True)
class Mutant:
    """One broken function.

    Attributes
    ----------
    subject : str
        "module:name" or "module:Class.name".
    change : str
        What was done to which expression; a number tells equal changes apart.
    code : CodeType
        Of the broken function.
    """

    subject: str
    change: str
    code: CodeType

    @property
    def identifier(self) -> str:
        """Subject and change: the same as long as that expression is."""
        return f"{self.subject} | {self.change}"


def mutants_of(subject: str) -> Iterator[Mutant]:
    """Yield every mutant of a function.

    Raises
    ------
    ValueError
        If the module defines no such function.
    """
    module_name, _, name = subject.partition(":")
    module = importlib.import_module(module_name)
    tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
    parent, index = _definition(tree, name, subject)
    original = parent.body[index]
    assert isinstance(original, ast.FunctionDef)
    seen: Counter[str] = Counter()
    for variant in variants(original):
        change = variant.describe()
        seen[change] += 1
        if seen[change] > 1:
            change = f"{change} ({seen[change]})"
        parent.body[index] = variant.tree
        code = _code_of(compile(tree, str(module.__file__), "exec", dont_inherit=True), name, module)
        yield Mutant(subject, change, code)
    parent.body[index] = original


@contextmanager
def installed(mutant: Mutant) -> Iterator[None]:
    """Run with the broken function in the place of the original, wherever that was imported to."""
    function = function_at(mutant.subject)
    original = function.__code__
    function.__code__ = mutant.code
    try:
        yield
    finally:
        function.__code__ = original


def function_at(subject: str) -> FunctionType:
    """Return the plain function behind a subject, unwrapped from decorators and descriptors."""
    module_name, _, name = subject.partition(":")
    found: Any = importlib.import_module(module_name)
    for part in name.split("."):
        found = inspect.getattr_static(found, part)
    if isinstance(found, property):
        found = found.fget
    found = getattr(found, "__func__", found)
    found = inspect.unwrap(found)
    if not isinstance(found, FunctionType):
        raise ValueError(f"subject must be a Python function; found {found!r} at {subject}")
    return found


def _definition(tree: ast.Module, name: str, subject: str) -> tuple[Any, int]:
    parent: Any = tree
    *classes, last = name.split(".")
    for part in classes:
        parent = next(
            (node for node in parent.body if isinstance(node, ast.ClassDef) and node.name == part), None
        )
        if parent is None:
            raise ValueError(f"subject must name a function; {subject} has no class {part!r}")
    for index, node in enumerate(parent.body):
        if isinstance(node, ast.FunctionDef) and node.name == last:
            return parent, index
    raise ValueError(f"subject must name a function; there is none at {subject}")


def _code_of(code: CodeType, name: str, module: ModuleType) -> CodeType:
    for part in name.split("."):
        code = next(
            const for const in code.co_consts if isinstance(const, CodeType) and const.co_name == part
        )
    return code
