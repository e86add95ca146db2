"""Refusals of CVXPY problems, in terms of the constraints as they were written."""

from __future__ import annotations

from typing import Any

FITTING = (
    "LowRankSolver takes one PSD matrix variable, a linear objective, and equalities that fix its diagonal"
)


def refuse_unless_fitting(problem: Any) -> None:
    """Refuse what can be seen before canonicalisation, where constraints still look as they were written."""
    from cvxpy.constraints import PSD, Equality, Inequality, Zero

    if not problem.objective.expr.is_affine():
        raise refusal(f"the objective {_text(problem.objective)} is not linear")
    blocks = []
    for variable in problem.variables():
        _refuse_attributes(variable)
        if variable.attributes["PSD"] or variable.attributes["NSD"]:
            blocks.append(f"the attribute of variable {variable.name()}")
    for number, constraint in enumerate(problem.constraints, start=1):
        label = f"constraint {number}, {_text(constraint)},"
        if isinstance(constraint, PSD):
            if constraint.num_cones() != 1:
                raise refusal(f"{label} is about {constraint.num_cones()} PSD matrices")
            blocks.append(f"constraint {number}, {_text(constraint)}")
        elif isinstance(constraint, Inequality):
            raise refusal(f"{label} is an inequality")
        elif not isinstance(constraint, (Equality, Zero)):
            raise refusal(f"{label} is a {type(constraint).__name__} constraint")
        elif not all(argument.is_affine() for argument in constraint.args):
            raise refusal(f"{label} is not linear")
    if not blocks:
        raise refusal("no constraint makes a matrix PSD")
    if len(blocks) > 1:
        raise refusal(f"{len(blocks)} PSD matrices are required: {'; '.join(blocks)}")


def _refuse_attributes(variable: Any) -> None:
    if variable.is_complex():
        raise refusal(f"the variable {variable.name()} is complex")
    bounding = [name for name in ("nonneg", "nonpos", "pos", "neg", "bounds") if variable.attributes[name]]
    if bounding:
        raise refusal(f"the variable {variable.name()} carries the inequality {bounding[0]}")


def refusal(reason: str) -> Exception:
    """CVXPY's SolverError that gives the reason and says what would fit."""
    from cvxpy.error import SolverError

    return SolverError(f"{reason[:1].upper()}{reason[1:]}. {FITTING}.")


def _text(stated: Any, longest: int = 80) -> str:
    text = " ".join(str(stated).split())
    return f"'{text}'" if len(text) <= longest else f"'{text[:longest]}...'"
