"""From a factor to signs: Gaussian rounding in two forms, local search, and the certified gap of what it finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator

from solvers import checks
from solvers.heuristics.local_search import Search, one_flip, pair_search
from solvers.heuristics.local_search import local_search as prepare_local_search
from solvers.linalg.sphere import normalise
from solvers.problems.binary_form import BinaryForm, binary_form, frobenius_norm
from solvers.problems.problem import BinaryQuadratic, Cost, Elliptope
from solvers.problems.solution import Solution, relative_gap

# Entries of one batch of samples, (batch, n) float64: 16 MB.
_BATCH_ENTRIES = 1 << 21

__all__ = ["Rounding", "one_flip", "round_fixed_mean", "round_homogeneous"]


@dataclass(frozen=True, eq=False)
class Rounding:
    r"""Binary points drawn from a solution, and the best of them.

    Everything is in the original problem's variables and its minimised sense (a MaxCut's value is minus its
    cut), constant included.

    Attributes
    ----------
    signs : (n,) int8 ndarray
        The best point; +1 first where the problem is a homogenised Elliptope.
    value : float
        Its objective.
    values : (samples,) ndarray
        Objective of every sample, after local search where that was asked for.
    expected_value : float or None
        Expectation of a sample before local search, in closed form; None for the fixed mean where there is a
        linear term (`vispa.SignGaussian.second_moments` computes it).
    lower_bound : float
        The solution's bound, which holds for every binary point.
    gap : float
        (value - lower_bound) / max(\|value - constant\|, \|C\|_F): no binary point is better by more.
    """

    signs: NDArray[np.int8] = field(repr=False)
    value: float
    values: NDArray[np.float64] = field(repr=False)
    expected_value: float | None
    lower_bound: float
    gap: float


def round_homogeneous(
    solution: Solution,
    *,
    samples: int = 100,
    local_search: bool | str = True,
    rng: np.random.Generator | int | None = None,
) -> Rounding:
    r"""Round by :math:`w_i = \operatorname{sgn}(v_i \cdot r) \operatorname{sgn}(v_0 \cdot r)`.

    Here r is standard normal, and the second factor is there only where the problem is homogenised.  Then
    :math:`E[w_i w_j] = \tfrac{2}{\pi} \arcsin(v_i \cdot v_j)`, hence 0.87856 of the bound for Laplacians with
    non-negative weights and 2/pi for the maximisation of PSD forms.

    Parameters
    ----------
    solution : Solution
    samples : int, optional
        At least 1.
    local_search : bool or {"one-flip", "two-flip"}, optional
        Bring every sample to a local minimum, by `one_flip` (the same as True) or by `two_flip`; False leaves
        the samples as they are.
    rng : numpy Generator or seed, optional

    Returns
    -------
    Rounding

    Raises
    ------
    TypeError, ValueError
        If an argument is not of its kind or out of range.

    Notes
    -----
    O(samples * (N k + nnz(C))) time.  Goemans and Williamson (1995); Nesterov (1998).

    Examples
    --------
    >>> from solvers.exact.shor import exact
    >>> from solvers.problems.problem import MaxCut
    >>> square = MaxCut([[0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0]])
    >>> round_homogeneous(exact(square), rng=0).value
    -4.0
    """
    _check_solution(solution)
    factor = solution.factor

    def draw(generator: np.random.Generator, count: int) -> NDArray[np.float64]:
        return generator.standard_normal((count, factor.shape[1]))

    expected = expected_homogeneous_value(solution.problem.relaxation().unit(), normalise(factor))
    return _round(solution, draw, expected, samples, local_search, rng)


def round_fixed_mean(
    solution: Solution,
    *,
    samples: int = 100,
    local_search: bool | str = True,
    rng: np.random.Generator | int | None = None,
) -> Rounding:
    r"""Round at the fixed mean :math:`\mu_i = v_i \cdot v_0`: sample the rest of the factor only.

    Rotating v_0 to e_1 makes the first column the mean and leaves the others as the factor Z of a Gaussian,
    :math:`w = \operatorname{sgn}(\mu + Z g)`; the same as homogeneous rounding given :math:`v_0 \cdot r = 1`.
    No approximation guarantee is known.  Without a linear term the mean is zero, Z = V, and both are the same.

    Parameters
    ----------
    solution, samples, local_search, rng
        As for `round_homogeneous`.

    Returns
    -------
    Rounding

    Raises
    ------
    TypeError, ValueError
        If an argument is not of its kind or out of range.

    Examples
    --------
    >>> from solvers.exact.shor import exact
    >>> from solvers.problems.problem import BinaryQuadratic
    >>> problem = BinaryQuadratic([[0.0, 1.0], [1.0, 0.0]], b=[1.0, 0.0])
    >>> round_fixed_mean(exact(problem), rng=0).signs
    array([-1,  1], dtype=int8)
    """
    _check_solution(solution)
    relaxation, factor = solution.problem.relaxation(), solution.factor
    if not relaxation.homogenised:
        return round_homogeneous(solution, samples=samples, local_search=local_search, rng=rng)
    first = factor[0] / np.linalg.norm(factor[0])

    def draw(generator: np.random.Generator, count: int) -> NDArray[np.float64]:
        normal = generator.standard_normal((count, factor.shape[1]))
        return normal + np.outer(1.0 - normal @ first, first)

    return _round(solution, draw, None, samples, local_search, rng)


def expected_homogeneous_value(relaxation: Elliptope, factor: NDArray[np.float64]) -> float:
    r"""Expectation of homogeneous rounding, :math:`\tfrac{2}{\pi}\langle C, \arcsin(V V^T)\rangle` + constant.

    For unit diagonal and unit rows.  O(nnz(C) k) time for sparse C, O(N^2 k) otherwise; memory O(nnz(C)) or a
    block of columns.
    """
    cost, order = relaxation.cost, relaxation.size
    if sp.issparse(cost):
        total = _sparse_arcsine_product(sp.csr_array(cost), factor)
    else:
        width = max(1, _BATCH_ENTRIES // order)
        blocks = (slice(start, start + width) for start in range(0, order, width))
        total = sum(_arcsine_block_product(cost, factor, block) for block in blocks)
    return 2.0 / np.pi * total + relaxation.constant


def _sparse_arcsine_product(cost: sp.csr_array, factor: NDArray[np.float64]) -> float:
    entries = sp.coo_array(cost)
    total = 0.0
    chunk = max(1, _BATCH_ENTRIES // factor.shape[1])
    for start in range(0, entries.nnz, chunk):
        part = slice(start, start + chunk)
        row, column = entries.coords[0][part], entries.coords[1][part]
        inner = np.einsum("ek,ek->e", factor[row], factor[column])
        # Rounding leaves |v_i|^2 short of 1 by an ulp, which the arcsine would magnify to 1e-8.
        inner = np.where(row == column, 1.0, np.clip(inner, -1.0, 1.0))
        total += float(entries.data[part] @ np.arcsin(inner))
    return total


def _arcsine_block_product(
    cost: NDArray[np.float64] | LinearOperator, factor: NDArray[np.float64], block: slice
) -> float:
    inner = np.clip(factor @ factor[block].T, -1.0, 1.0)
    columns = np.arange(inner.shape[1])
    inner[block.start + columns, columns] = 1.0
    angles = np.arcsin(inner)
    if isinstance(cost, LinearOperator):
        product = np.asarray(cost.matmat(angles))
        return float(product[block.start + columns, columns].sum())
    return float(np.einsum("ij,ij->", cost[:, block], angles))


def _round(
    solution: Solution,
    draw: Callable[[np.random.Generator, int], NDArray[np.float64]],
    expected: float | None,
    samples: int,
    local_search: bool | str,
    rng: np.random.Generator | int | None,
) -> Rounding:
    """Draw directions, take signs, search, evaluate, batch by batch; keep the best point only."""
    samples = checks.integer("samples", samples, minimum=1)
    generator = checks.generator("rng", rng)
    problem, relaxation = solution.problem, solution.problem.relaxation().unit()
    form = binary_form(problem)
    search = _prepare_search(local_search, form)
    batch = max(1, _BATCH_ENTRIES // form.n)
    values, best_value, best = np.empty(samples), np.inf, np.empty(0)
    for start in range(0, samples, batch):
        directions = draw(generator, min(batch, samples - start))
        signs = np.where(directions @ solution.factor.T >= 0, 1.0, -1.0)
        if relaxation.homogenised:
            signs *= signs[:, :1].copy()
            signs = np.ascontiguousarray(signs[:, 1:]) if isinstance(problem, BinaryQuadratic) else signs
        if search is not None:
            search(signs)
        found = form.evaluate(signs)
        values[start : start + found.shape[0]] = found
        lowest = int(np.argmin(found))
        if found[lowest] < best_value or not best.shape[0]:
            best_value, best = float(found[lowest]), signs[lowest].copy()
    if isinstance(problem, Elliptope) and problem.homogenised:
        best = best * best[0]
    gap = _binary_gap(relaxation.cost, best_value - form.constant, solution.lower_bound - form.constant)
    return Rounding(best.astype(np.int8), best_value, values, expected, solution.lower_bound, gap)


def _prepare_search(local_search: bool | str, form: BinaryForm) -> Search | None:
    if isinstance(local_search, (bool, np.bool_)):
        return prepare_local_search(form) if local_search else None
    if not isinstance(local_search, str) or local_search not in ("one-flip", "two-flip"):
        raise ValueError(
            f"local_search must be True, False, 'one-flip' or 'two-flip'; found {local_search!r}"
        )
    return (pair_search if local_search == "two-flip" else prepare_local_search)(form)


def _binary_gap(cost: Cost, value: float, lower_bound: float) -> float:
    return relative_gap(value, lower_bound, frobenius_norm(cost))


def _check_solution(solution: Solution) -> None:
    if not isinstance(solution, Solution):
        raise TypeError(f"solution must be a Solution; found {type(solution).__name__}")
