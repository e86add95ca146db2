"""Operators that break one expression of a function, on its syntax tree.

==============  ========================================================================================
constant        A float c becomes 1.01 c, zero becomes one; an integer n becomes n + 1.
sign            a + b and a - b change places; -a becomes a.
exponent        a ** n becomes a ** (n + 1); a square or a square root is left out.
dropped term    a + b and a - b become a; a b and a / b become a.
result          A returned expression becomes -e, and 1.01 e.
comparison      > and >= change places, and so do < and <=: what happens at zero.
==============  ========================================================================================

Left alone are what a formula does not consist of: docstrings, annotations, messages, checks of arguments,
subscripts, and arguments that name an axis or a shape.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Variant", "variants"]

# Keyword arguments that say where or how, not what.
_LAYOUT = frozenset(
    {"axis", "dim", "keepdims", "ndmin", "dtype", "device", "dimensions", "minimum", "maximum", "shape"}
)
_SHAPING = frozenset(
    {"reshape", "view", "flatten", "unsqueeze", "expand", "range", "empty", "zeros", "errstate", "warn"}
)
_ROOTS = frozenset({"sqrt", "rsqrt", "square"})
_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
}


class Variant(NamedTuple):
    """A broken copy of a function, with what was done to which expression."""

    operator: str
    before: str
    after: str
    tree: ast.FunctionDef

    def describe(self) -> str:
        """Say in one line what changed."""
        return f"{self.operator}: {self.before} -> {self.after}"


def variants(function: ast.FunctionDef) -> Iterator[Variant]:
    """Every variant of a function that one operator makes at one place, in the order of the source.

    Examples
    --------
    >>> tree = ast.parse("def f(x): return 2 * x").body[0]
    >>> for variant in variants(tree):
    ...     variant.describe()
    'dropped term: 2 * x -> 2'
    'result: 2 * x -> -(2 * x)'
    'result: 2 * x -> 1.01 * (2 * x)'
    'constant: 2 -> 3'
    """
    for path in _places(function):
        node = _at(function, path)
        returned = isinstance(_at(function, path[:-1]), ast.Return)
        for operator, broken in (*_broken(node), *(_result(node) if returned else ())):
            tree = copy.deepcopy(function)
            _replace(tree, path, broken)
            yield Variant(operator, ast.unparse(node), ast.unparse(broken), ast.fix_missing_locations(tree))


Path = tuple[tuple[str, int | None], ...]


def _places(function: ast.FunctionDef) -> Iterator[Path]:
    """Paths to the expressions that belong to the formula, outermost first."""
    for index, statement in enumerate(function.body):
        yield from _walk(statement, (("body", index),))


def _walk(node: ast.AST, path: Path) -> Iterator[Path]:
    if isinstance(node, (ast.Raise, ast.Assert, ast.JoinedStr, ast.Import, ast.ImportFrom)):
        return
    if isinstance(node, ast.Subscript):
        # The value that is indexed is part of the formula; the index is not.
        yield path
        yield from _walk(node.value, (*path, ("value", None)))
        return
    if isinstance(node, ast.Call) and not _is_formula(node):
        return
    if isinstance(node, ast.expr):
        yield path
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "slice", "args") and isinstance(
            node, (ast.AnnAssign, ast.FunctionDef)
        ):
            continue
        if isinstance(value, list):
            for index, child in enumerate(value):
                if isinstance(child, ast.keyword) and child.arg in _LAYOUT:
                    continue
                if isinstance(child, ast.AST):
                    yield from _walk(child, (*path, (name, index)))
        elif isinstance(value, ast.AST):
            yield from _walk(value, (*path, (name, None)))


def _is_formula(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    owner = call.func.value if isinstance(call.func, ast.Attribute) else None
    return name not in _SHAPING and not (isinstance(owner, ast.Name) and owner.id == "checks")


def _broken(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    for operator in (_constant, _sign, _exponent, _dropped, _comparison):
        for broken in operator(node):
            yield operator.__name__.strip("_").replace("dropped", "dropped term"), broken


def _constant(node: ast.AST) -> Iterator[ast.expr]:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        value = node.value
        assert isinstance(value, (int, float))
        yield ast.Constant(value + 1 if isinstance(value, int) else 1.01 * value if value else 1.0)


def _sign(node: ast.AST) -> Iterator[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)):
        other = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
        yield ast.BinOp(node.left, other, node.right)
    if (
        isinstance(node, ast.UnaryOp)
        and isinstance(node.op, ast.USub)
        and not isinstance(node.operand, ast.Constant)
    ):
        yield node.operand


def _exponent(node: ast.AST) -> Iterator[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        yield ast.BinOp(node.left, ast.Pow(), ast.BinOp(node.right, ast.Add(), ast.Constant(1)))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _ROOTS:
        # x.sqrt() and np.sqrt(x)
        yield node.args[0] if node.args else node.func.value


def _dropped(node: ast.AST) -> Iterator[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub, ast.Mult, ast.Div)):
        yield node.left


def _comparison(node: ast.AST) -> Iterator[ast.expr]:
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _COMPARISONS:
        yield ast.Compare(node.left, [_COMPARISONS[type(node.ops[0])]()], node.comparators)


def _result(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(node, (ast.BinOp, ast.Call, ast.Name, ast.IfExp, ast.Subscript)):
        yield "result", ast.UnaryOp(ast.USub(), node)
        yield "result", ast.BinOp(ast.Constant(1.01), ast.Mult(), node)


def _at(root: ast.AST, path: Path) -> ast.AST:
    for name, index in path:
        value = getattr(root, name)
        root = value if index is None else value[index]
    return root


def _replace(root: ast.AST, path: Path, broken: ast.expr) -> None:
    parent = _at(root, path[:-1])
    name, index = path[-1]
    broken = copy.deepcopy(broken)
    if index is None:
        setattr(parent, name, broken)
    else:
        getattr(parent, name)[index] = broken
