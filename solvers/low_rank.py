"""The low-rank solver: a narrow factor, a dual certificate, and an escape wherever the certificate fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.linalg import LinearOperator

from solvers import checks
from solvers.burer_monteiro.finish import finish
from solvers.burer_monteiro.solver import solve
from solvers.certificates.rigorous import check_provable
from solvers.interrupts import HeldInterrupts
from solvers.linalg.rank import default_rank
from solvers.linalg.sphere import normalise, random_rows
from solvers.problems.components import largest_component
from solvers.problems.cost import Cost
from solvers.problems.gram import Gram
from solvers.problems.operators import probe_operator
from solvers.problems.problem import Elliptope, Problem, as_problem
from solvers.problems.solution import Iteration, Solution, Status
from solvers.stop import Limits

# From this order on a factor takes so much memory that components are looked for before its width is chosen.
LARGE_ORDER = 100_000
# A proof loses a little to rounding and to the shift that lets it through: the estimate goes further by this share.
PROOF_SHARE = 0.7


def low_rank(
    problem: Problem,
    *,
    rank: int | None = None,
    tol: float = 1e-6,
    start: ArrayLike | FactorSource | None = None,
    certificate: str = "estimate",
    method: str = "auto",
    max_iterations: int = 1_000_000,
    max_seconds: float | None = None,
    callback: Callable[[Iteration], None] | None = None,
    rng: np.random.Generator | int | None = None,
    workers: int = 1,
    device: Any = None,
) -> Solution:
    r"""Solve the SDP relaxation through a factor Y = V V^T of few columns, and certify the result.

    Parameters
    ----------
    problem : BinaryQuadratic, MaxCut or Elliptope
        Dense, sparse, or given by a LinearOperator.  A fixed diagonal other than one is scaled to one at the
        door, and the result scaled back.
    rank : int, optional
        Number of columns k to start with, 1 <= k <= N; escapes may add more.  By default about
        2 log2(M) or 1.5 M^(1/3) + 2, M the order of the largest connected component, never more than its
        Barvinok-Pataki rank needs.
    tol : float, optional
        Relative gap at which the result counts as certified, > 0.
    start : (N, k) array_like or object with a method `to_factor`, optional
        Rows to start from, normalised first; replaces `rank`.  A `vispa.SignGaussian` gives its mean, its factor
        and, in about the default number of columns, its residual.
    certificate : {"estimate", "rigorous"}, optional
        Whether the final bound rests on a floating-point eigenvalue or is proved with error bounds.
    method : {"auto", "interior-point"}, optional
        By default sweeps, then second-order steps, and a primal-dual interior point on dense costs of up to 1,500
        rows that sweeps have not solved in its time, or where second-order steps stall.  "interior-point" begins
        with it: O(N^3) some fifteen times, whatever the conditioning of the cost; `rank` is then hardly used.
    max_iterations : int, optional
        Sweeps, or products with the cost in second-order steps and for an operator, over all components; a
        second-order step under way is finished.
    max_seconds : float, optional
        Wall-clock limit.
    callback : callable, optional
        Called with an `Iteration` a few times a second or less often; raising StopIteration ends the solve.
    rng : numpy Generator or seed, optional
        For the start point and the Lanczos vectors.
    workers : int, optional
        Threads for a sparse component of 50,000 rows or more; the result does not depend on their number.  They
        call the linear algebra library, whose own threads are then better limited to one
        (``OPENBLAS_NUM_THREADS=1``).
    device : str or torch.device, optional
        Solve on torch tensors there, such as "cuda" or "cpu", by the methods of
        `solvers.torch_backend`; operators are refused.  By default NumPy and compiled loops on the processor.

    Returns
    -------
    Solution
        The best point found, always with a valid bound; `status` says what to do next.  An interrupt (Ctrl-C)
        returns it too, with status INTERRUPTED: one that comes while the solve is set up, once it has begun.  A
        second one before that, or while the result is being finished, raises KeyboardInterrupt; so does one that
        comes before a ``device`` has begun.

    Raises
    ------
    TypeError, ValueError
        For an argument that does not fit, naming it.

    Notes
    -----
    Coordinate sweeps with over-relaxation run until the decrease predicts the wanted gap; then
    y_i = <(C V)_i, v_i> and the smallest eigenvalue of C - Diag(y) decide.  Where that eigenvalue is negative
    at a critical point, V gains a column along its eigenvector, which lowers the objective (Boumal 2015).
    Almost every cost has no spurious second-order points once k(k+1)/2 > N (Boumal, Voroninski and Bandeira
    2016).  A sweep costs O(nnz k), memory is O(nnz + N k).

    Examples
    --------
    >>> from solvers import MaxCut, low_rank
    >>> pentagon = np.roll(np.eye(5), 1, axis=1)
    >>> solution = low_rank(MaxCut(pentagon + pentagon.T), rng=0)
    >>> solution.status.name, round(solution.report()["upper_bound"], 4)
    ('CERTIFIED', 4.5225)
    """
    problem = as_problem(problem)
    limits = Limits.checked(tol, max_iterations, max_seconds, callback)
    tol = limits.tol
    checks.choice("certificate", certificate, ("estimate", "rigorous"))
    checks.choice("method", method, ("auto", "interior-point"))
    workers = checks.integer("workers", workers, minimum=1)
    generator = checks.generator("rng", rng)
    rigorous = certificate == "rigorous"
    if rigorous:
        limits = replace(limits, tol=PROOF_SHARE * tol)
    with HeldInterrupts() as interrupts:
        relaxation = problem.relaxation()
        _check_cost(relaxation.cost, method, device)
        if rigorous:
            check_provable(relaxation.cost)
        factor = _start_factor(relaxation, rank, start, generator)
        if device is not None:
            from solvers.torch_backend import solve_on_device

            with interrupts.released():
                return solve_on_device(problem, factor, limits, device=device, tol=tol, rigorous=rigorous)
        found = solve(
            relaxation,
            factor,
            generator,
            interrupts=interrupts,
            limits=limits,
            from_random_start=start is None,
            workers=workers,
            central_path=method == "interior-point",
        )
        solution = finish(problem, found, tol=tol, rigorous=rigorous)
        if interrupts.asked and not solution.certified:
            return replace(solution, status=Status.INTERRUPTED)
        return solution


def _check_cost(cost: Cost, method: str, device: Any) -> None:
    entries = not isinstance(cost, LinearOperator) or isinstance(cost, Gram)
    if method == "interior-point":
        if device is not None:
            raise ValueError(
                "device must be None for method='interior-point'; `solve_batch` has one on devices"
            )
        if not entries:
            raise ValueError(
                "method must be 'auto' for a LinearOperator; the interior point needs the entries of the cost"
            )
    if not entries:
        probe_operator("cost", cost)


class FactorSource(Protocol):
    """Whatever can stand for a start point, such as `vispa.SignGaussian`."""

    def to_factor(self, *, homogenised: bool, width: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """About ``width`` columns; with a row 0 for the constant 1 where the problem is homogenised."""


def _start_factor(
    relaxation: Elliptope,
    rank: int | None,
    start: ArrayLike | FactorSource | None,
    generator: np.random.Generator,
) -> NDArray[np.float64]:
    order = relaxation.size
    if start is not None:
        if rank is not None:
            raise ValueError("start already fixes the rank; pass rank or start, not both")
        if hasattr(start, "to_factor"):
            start = start.to_factor(
                homogenised=relaxation.homogenised, width=default_rank(order), rng=generator
            )
        rows = checks.real_array("start", start, dimensions=2)
        if rows.shape[0] != order or rows.shape[1] == 0:
            raise ValueError(f"start must have shape ({order}, k) with k >= 1; found {rows.shape}")
        return normalise(rows)
    if rank is None:
        rank = default_rank(largest_component(relaxation.cost) if order >= LARGE_ORDER else order)
    return random_rows(order, checks.integer("rank", rank, minimum=1, maximum=order), generator)
