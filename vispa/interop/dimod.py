"""dimod, both ways: a sampler that certifies what it finds, and problems as binary quadratic models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator

try:
    import dimod
except ImportError as error:
    raise ImportError("vispa.interop.dimod needs dimod: pip install 'vispa-sdp[dimod]'") from error

from solvers import BinaryQuadratic, MaxCut, low_rank, round_homogeneous, tabu_search
from solvers.checks import choice, generator, integer
from solvers.problems.doors import door, kind

# Roundings of the relaxation's factor from which the search of one read starts.
ROUNDINGS = 50
_MATRIX_DOOR = "Use sample_qubo(Q) or sample_ising(h, J) for mappings, to_bqm(problem) for a problem"


class VispaSampler(dimod.Sampler):
    """A dimod sampler: the low-rank relaxation bounds the energy, its roundings start a tabu search.

    The sample set's ``info`` holds what no sampler of points can know: ``lower_bound`` on the energy of every
    sample, the relative ``gap`` of the best one to it, the ``certificate`` of the bound ("estimate" or "rigorous"),
    the ``status`` of the search (``bound_met``: nothing better exists) and of the ``relaxation``.

    Examples
    --------
    >>> import dimod
    >>> from vispa.interop.dimod import VispaSampler
    >>> model = dimod.BinaryQuadraticModel({"a": 1.0}, {("a", "b"): -2.0}, 0.0, "SPIN")
    >>> found = VispaSampler().sample(model, seed=0)
    >>> float(found.first.energy), found.info["status"]
    (-3.0, 'bound_met')
    """

    @property
    def parameters(self) -> Mapping[str, list[str]]:
        """Keyword arguments of `sample`."""
        names = ("num_reads", "seed", "tol", "certificate", "max_seconds", "max_iterations")
        return {name: [] for name in names}

    @property
    def properties(self) -> Mapping[str, Any]:
        """An empty mapping: any model of finite biases is taken."""
        return {}

    def sample(
        self,
        bqm: dimod.BinaryQuadraticModel,
        *,
        num_reads: int = 1,
        seed: int | None = None,
        tol: float = 1e-6,
        certificate: str = "estimate",
        max_seconds: float | None = None,
        max_iterations: int | None = None,
        **ignored: Any,
    ) -> dimod.SampleSet:
        """A certified sample set of a binary quadratic model.

        Parameters
        ----------
        bqm : dimod.BinaryQuadraticModel
            Of spins or of bits.
        num_reads : int, optional
            Searches, each from roundings of its own; one sample each.
        seed : int, optional
            The same seed gives the same samples where no time limit comes first.
        tol, certificate : optional
            Of the relaxation, as in `vispa.low_rank`.
        max_seconds : float, optional
            Limit on the relaxation, and on each search.
        max_iterations : int, optional
            Flips of each search.
        **ignored
            What other samplers take; dimod warns of it, as its samplers do.

        Returns
        -------
        dimod.SampleSet
            In the model's own vartype and labels.

        Raises
        ------
        TypeError, ValueError
            For an argument that does not fit, naming it.
        """
        if not isinstance(bqm, dimod.BinaryQuadraticModel):
            raise TypeError(
                f"bqm must be a dimod BinaryQuadraticModel; found {kind(bqm)}. {door(bqm) or _MATRIX_DOOR}"
            )
        self.remove_unknown_kwargs(**ignored)
        reads = integer("num_reads", num_reads, minimum=1)
        rng = generator("seed", seed)
        if bqm.num_variables == 0:
            return dimod.SampleSet.from_samples_bqm(np.empty((reads, 0)), bqm)
        problem = BinaryQuadratic.from_bqm(bqm)
        solution = low_rank(problem, tol=tol, certificate=certificate, max_seconds=max_seconds, rng=rng)
        found = []
        for _ in range(reads):
            start = round_homogeneous(solution, samples=ROUNDINGS, rng=rng).signs
            found.append(
                tabu_search(
                    problem,
                    start,
                    max_seconds=max_seconds,
                    max_iterations=max_iterations,
                    solution=solution,
                    rng=rng,
                )
            )
        best = min(found, key=lambda each: each.value)
        signs = np.array([each.signs for each in found], dtype=np.int8)
        samples = signs if bqm.vartype is dimod.SPIN else (1 + signs) // 2
        return dimod.SampleSet.from_samples_bqm(
            (samples, list(problem.labels or ())),
            bqm,
            info={
                "lower_bound": solution.lower_bound,
                "gap": best.gap,
                "certificate": solution.certificate,
                "status": best.status.name.lower(),
                "relaxation": solution.status.name.lower(),
            },
        )


def to_bqm(problem: BinaryQuadratic | MaxCut, vartype: str = "SPIN") -> dimod.BinaryQuadraticModel:
    """A dimod model whose energy is the problem's minimised objective: minus the cut for a MaxCut.

    Parameters
    ----------
    problem : BinaryQuadratic or MaxCut
        Its labels become the variables, or 0 to n - 1.
    vartype : {"SPIN", "BINARY"}, optional

    Raises
    ------
    TypeError
        For other problems, and where the matrix is an operator.

    Examples
    --------
    >>> from solvers import MaxCut
    >>> float(to_bqm(MaxCut([[0, 3], [3, 0]])).energy({0: 1, 1: -1}))
    -3.0
    """
    choice("vartype", vartype, ("SPIN", "BINARY"))
    if isinstance(problem, MaxCut):
        form = 0.5 * problem.graph
        linear, offset = np.zeros(problem.n), -0.5 * float(sp.triu(problem.graph).sum())
        couplings = sp.coo_array(sp.triu(form, 1))
    elif isinstance(problem, BinaryQuadratic):
        if isinstance(problem.A, LinearOperator):
            raise TypeError("problem must have a dense or sparse matrix to become a bqm; found an operator")
        matrix = sp.csr_array(problem.A)
        linear = problem.b
        offset = problem.constant + float(matrix.diagonal().sum())
        couplings = sp.coo_array(2.0 * sp.triu(matrix, 1))
    else:
        raise TypeError(f"problem must be a BinaryQuadratic or a MaxCut; found {type(problem).__name__}")
    labels = problem.labels or tuple(range(problem.n))
    model = dimod.BinaryQuadraticModel.from_numpy_vectors(
        linear, (*couplings.coords, couplings.data), offset, "SPIN", variable_order=list(labels)
    )
    return model if vartype == "SPIN" else model.change_vartype("BINARY", inplace=False)
