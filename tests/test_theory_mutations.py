"""Break a public function, and the claim that rests on it must fail: by a measured number, not by breaking down."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from solvers.problem import BinaryQuadratic, Elliptope, homogenise
from theory_checks.claim import Verdict
from theory_checks.registry import CLAIMS
from theory_checks.runner import run
from vispa import estimators, heuristics
from vispa.entropy import Estimate
from vispa.gaussian import SignGaussian


class Mutant(NamedTuple):
    claim: str
    change: str
    subject: str  # module:attribute or module:Class.attribute
    mutate: Callable[[Any], Any]  # from the original to the broken function


def result(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A mutation that changes what the function returns."""
    return lambda original: lambda *args, **options: change(original(*args, **options))


def instead(replacement: Any) -> Callable[[Any], Any]:
    """A mutation that puts another function in the place of the original."""
    return lambda original: replacement


def fields(**changes: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A mutation that changes fields of the returned dataclass or named tuple."""

    def change(found: Any) -> Any:
        values = {name: function(found) for name, function in changes.items()}
        return found._replace(**values) if isinstance(found, tuple) else dataclasses.replace(found, **values)

    return result(change)


def without_zero_row_check(posterior: SignGaussian) -> SignGaussian:
    rows = np.column_stack([posterior.mean, posterior.factor, np.sqrt(posterior.residual)])
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    rows = rows / np.where(norms > 0, norms, 1.0)
    return SignGaussian(rows[:, 0], rows[:, 1:-1], rows[:, -1] ** 2)


def divided_by_square(posterior: SignGaussian) -> SignGaussian:
    square = posterior.mean**2 + (posterior.factor**2).sum(axis=1) + posterior.residual
    if not square.all():
        raise ValueError("a zero row has no projection")
    return SignGaussian(
        posterior.mean / square, posterior.factor / square[:, None], posterior.residual / square**2
    )


def columns_in_place(solution: Any) -> SignGaussian:
    """from_solution without the rotation of v_0 to e_1."""
    V = solution.factor
    if not solution.problem.relaxation().homogenised:
        return SignGaussian(np.zeros(len(V)), V)
    return SignGaussian(V[1:, 0], V[1:, 1:])


def whole_linear_term(problem: BinaryQuadratic) -> Elliptope:
    cost = homogenise(problem.A, 2.0 * problem.b) if problem.has_linear_term else problem.A
    return Elliptope(cost, constant=problem.constant, homogenised=problem.has_linear_term)


def through_the_sign(loss: Any, rows: Any, draw: Any) -> Any:
    """rao_blackwell that forgets the kernel."""
    return estimators.straight_through(loss, rows, draw)


GAUSSIAN = "vispa.gaussian:SignGaussian"
ESTIMATORS = "vispa.estimators"
LOW_RANK = "solvers.low_rank:low_rank"
EXACT = "solvers.exact:exact"
LOW_RANK_WEIGHT = "vispa.nn.weights:LowRankWeight"
CORRELATED = "vispa.nn.functions:CorrelatedLatent"
DUAL_BOUND = "solvers.certificate:dual_bound"
DUAL_VECTOR = "solvers.certificate:dual_vector"


def halved_mean(weight: Any, mean: torch.Tensor) -> None:
    """A projection that moves the published layer's parameters."""
    with torch.no_grad():
        mean.mul_(0.5)


def bound_of(change: Callable[[float, float, int], float]) -> Callable[[Any], Any]:
    """dual_bound with another formula of sum(y), the smallest eigenvalue and N."""

    def mutate(original: Any) -> Any:
        def broken(cost: Any, dual: Any, **options: Any) -> Any:
            found = original(cost, dual, **options)
            return found._replace(
                bound=change(float(dual.sum()), min(found.smallest_eigenvalue, 0.0), cost.shape[0])
            )

        return broken

    return mutate


MUTANTS = [
    Mutant("G1", "sigma dropped", f"{GAUSSIAN}.mean_signs", instead(lambda self: np.tanh(self.mean))),
    Mutant("G1", "norm squared", f"{GAUSSIAN}.projected", instead(divided_by_square)),
    Mutant("G1", "zero rows accepted", f"{GAUSSIAN}.projected", instead(without_zero_row_check)),
    Mutant("G1", "noise dropped", f"{GAUSSIAN}.second_moments", instead(lambda p: p.factor @ p.factor.T)),
    Mutant("G2", "constant", f"{GAUSSIAN}.second_moments", result(lambda m: 0.99 * m)),
    Mutant("G2", "arcsine dropped", f"{GAUSSIAN}.second_moments", result(lambda m: np.sin(np.pi / 2 * m))),
    Mutant(
        "G2",
        "exponent",
        f"{GAUSSIAN}.factorised",
        instead(lambda mean: SignGaussian(mean, None, 1 - np.abs(mean))),
    ),
    Mutant(
        "G2", "a mean column dropped", f"{GAUSSIAN}.elliptope", result(lambda Y: Y - np.outer(Y[0], Y[0]))
    ),
    Mutant(
        "G3", "corners cut", f"{GAUSSIAN}.factorised", lambda f: lambda mean: f(np.clip(mean, -0.99, 0.99))
    ),
    Mutant("G3", "sign", f"{GAUSSIAN}.mean_signs", result(lambda m: -m)),
    Mutant("G3", "no projection", f"{GAUSSIAN}.projected", instead(lambda self: self)),
    Mutant("G4", "rotation dropped", f"{GAUSSIAN}.from_solution", instead(columns_in_place)),
    Mutant(
        "G4",
        "mean term dropped",
        f"{GAUSSIAN}.elliptope",
        result(lambda Y: Y - np.outer(Y[0], Y[0]) * (1 - np.eye(len(Y)))),
    ),
    Mutant("R1", "b not halved", "solvers.problem:BinaryQuadratic.relaxation", instead(whole_linear_term)),
    Mutant("R1", "sign", "solvers.problem:MaxCut.laplacian", result(lambda L: -L)),
    Mutant("R1", "constant", "solvers.problem:MaxCut.evaluate", result(lambda cut: 2.0 * cut)),
    Mutant(
        "R1",
        "constant dropped",
        "solvers.problem:BinaryQuadratic.evaluate",
        lambda f: lambda p, s: f(p, s) - p.constant,
    ),
    Mutant("R2", "bound raised", LOW_RANK, fields(lower_bound=lambda s: s.lower_bound + 0.1)),
    Mutant("R2", "bound raised", EXACT, fields(lower_bound=lambda s: s.lower_bound + 0.1)),
    Mutant("R2", "gap left open", LOW_RANK, fields(gap=lambda s: 1e-3)),
    Mutant("R2", "second best", "solvers.brute_force:brute_force", fields(value=lambda s: s.value + 1e-6)),
    Mutant("R2", "sign", "solvers.rounding:round_homogeneous", fields(values=lambda r: r.values - 100.0)),
    Mutant("R2", "other signs", "solvers.rounding:round_fixed_mean", fields(value=lambda r: r.value - 100.0)),
    Mutant("R3", "sign", DUAL_VECTOR, result(lambda y: -y)),
    Mutant("R3", "N - 1", DUAL_BOUND, bound_of(lambda total, smallest, N: total + (N - 1) * smallest)),
    Mutant("R3", "N + 1", DUAL_BOUND, bound_of(lambda total, smallest, N: total + (N + 1) * smallest)),
    Mutant("R3", "sign", DUAL_BOUND, bound_of(lambda total, smallest, N: total - N * smallest)),
    Mutant("R3", "term dropped", DUAL_BOUND, bound_of(lambda total, smallest, N: total)),
    Mutant(
        "R3", "eigenvalue", DUAL_BOUND, fields(smallest_eigenvalue=lambda b: b.smallest_eigenvalue - 1e-9)
    ),
    Mutant("R4", "escape dropped", LOW_RANK, fields(gap=lambda s: 2e-6)),
    Mutant(
        "R4",
        "eigenvalue doubled",
        DUAL_BOUND,
        fields(smallest_eigenvalue=lambda b: 2.0 * b.smallest_eigenvalue),
    ),
    Mutant("R4", "retraction dropped", "solvers.sphere:retract", instead(lambda factor, step: factor + step)),
    Mutant("R5", "value", LOW_RANK, fields(value=lambda s: s.value + 1e-3)),
    Mutant("R5", "bound raised", EXACT, fields(lower_bound=lambda s: s.value + 1e-6)),
    Mutant("R5", "constant", DUAL_VECTOR, result(lambda y: y * (1 + 1e-12))),
    Mutant(
        "R6", "constant", "solvers.rounding:expected_homogeneous_value", result(lambda value: 0.9 * value)
    ),
    Mutant(
        "R6",
        "arcsine dropped",
        "solvers.rounding:expected_homogeneous_value",
        instead(lambda relaxation, V: float(np.vdot(V, relaxation.cost @ V)) + relaxation.constant),
    ),
    Mutant(
        "R6", "sampled law", "solvers.rounding:round_homogeneous", fields(values=lambda r: r.values + 2.0)
    ),
    Mutant("R6", "sampled law", "solvers.rounding:round_fixed_mean", fields(values=lambda r: r.values + 2.0)),
    Mutant("R7", "bound is the value", LOW_RANK, fields(lower_bound=lambda s: s.value)),
    Mutant("R7", "label", LOW_RANK, fields(certificate=lambda s: "estimate")),
    Mutant("S1", "constant", f"{ESTIMATORS}:gaussian_kernel", result(lambda k: 0.5 * k)),
    Mutant(
        "S1",
        "exponent",
        f"{ESTIMATORS}:gaussian_kernel",
        instead(lambda x: (2 / np.pi) ** 0.5 * torch.exp(-x * x)),
    ),
    Mutant("S1", "sigma dropped", f"{GAUSSIAN}.mean_signs", instead(lambda self: np.tanh(self.mean))),
    Mutant("S1", "factor", f"{ESTIMATORS}:gaussian", fields(gradient=lambda g: 2.0 * g.gradient)),
    Mutant("S2", "kernel dropped", f"{ESTIMATORS}:rao_blackwell", instead(through_the_sign)),
    Mutant("S2", "sign", f"{ESTIMATORS}:score", fields(gradient=lambda g: -g.gradient)),
    Mutant("S2", "constant", f"{ESTIMATORS}:gaussian", fields(gradient=lambda g: 1.01 * g.gradient)),
    Mutant("S2", "sign", f"{ESTIMATORS}:straight_through", fields(gradient=lambda g: -g.gradient)),
    Mutant("S3", "constant", f"{ESTIMATORS}:ste_kernel", result(lambda k: lambda x: 0.5 * k(x))),
    Mutant(
        "S3", "another kernel", f"{ESTIMATORS}:ste_kernel", instead(lambda noise: estimators.bireal_kernel)
    ),
    Mutant(
        "S3",
        "refusal dropped",
        f"{ESTIMATORS}:noise_of",
        lambda f: (
            lambda k: (
                f("gaussian") if k in (estimators.identity_kernel, estimators.swish_sign_kernel) else f(k)
            )
        ),
    ),
    Mutant("S3", "factor", "vispa.ste:NoiseLaw.mean_sign", result(lambda m: m / 2)),
    Mutant("S3", "sharpness", f"{ESTIMATORS}:swish_sign_kernel", lambda f: lambda x: f(0.9 * x)),
    Mutant(
        "V1", "constant", f"{GAUSSIAN}.conditional_entropy", result(lambda e: Estimate(1.01 * e.value, 0.0))
    ),
    Mutant("V1", "sign", f"{GAUSSIAN}.entropy", result(lambda h: -h)),
    Mutant("V1", "uniform law", f"{GAUSSIAN}.probabilities", result(lambda p: np.full_like(p, 1 / p.size))),
    Mutant("V1", "mixture", "vispa.enumeration:entropy", result(lambda h: 0.5 * h)),
    Mutant(
        "V2",
        "factor dropped",
        f"{GAUSSIAN}.conditional_entropy",
        instead(lambda self: Estimate(self.entropy(), 0.0)),
    ),
    Mutant("V2", "offset", f"{GAUSSIAN}.entropy", result(lambda h: h + 1e-6)),
    Mutant(
        "V3",
        "true entropy instead",
        f"{GAUSSIAN}.conditional_entropy",
        instead(lambda self: Estimate(self.entropy() if self.rank <= 1 else 0.0, 0.0)),
    ),
    Mutant("V3", "sign", f"{GAUSSIAN}.second_moments", result(lambda m: 2 * np.eye(len(m)) - m)),
    Mutant(
        "V4",
        "M + 1 taken for M",
        f"{GAUSSIAN}.semi_implicit_entropy",
        lambda f: (
            lambda self, mixtures, **o: Estimate(
                f(self, mixtures=mixtures, **o).value - np.log((mixtures + 2) / (mixtures + 1)), 0.0
            )
        ),
    ),
    Mutant(
        "V4",
        "mixtures ignored",
        f"{GAUSSIAN}.semi_implicit_entropy",
        lambda f: lambda self, mixtures, **o: f(self, mixtures=0, **o),
    ),
    Mutant("V4", "entropy", f"{GAUSSIAN}.entropy", result(lambda h: h + 1e-6)),
    Mutant(
        "S4",
        "constant",
        "vispa.losses:CallableLoss.gradients",
        result(lambda found: (found[0], 1.01 * found[1])),
    ),
    Mutant("S4", "sign", "vispa.losses:QuadraticLoss.gradients", result(lambda found: (found[0], -found[1]))),
    Mutant("S4", "factor", "solvers.problem:BinaryQuadratic.evaluate", result(lambda values: 0.5 * values)),
    Mutant(
        "S6",
        "correlation dropped",
        f"{GAUSSIAN}.probabilities",
        lambda f: lambda self: f(SignGaussian(self.mean, None, np.diag(self.latent_covariance()))),
    ),
    Mutant("S8", "constant", f"{GAUSSIAN}.second_moments", result(lambda m: 0.99 * m)),
    Mutant(
        "S8",
        "mean dropped",
        f"{GAUSSIAN}.second_moments",
        lambda f: lambda self: f(SignGaussian(np.zeros(self.n), self.factor, self.residual)),
    ),
    Mutant("V5", "constant", f"{GAUSSIAN}.second_moments", result(lambda m: 1.01 * m)),
    Mutant("V5", "second best", "solvers.brute_force:brute_force", fields(value=lambda s: s.value + 1e-6)),
    Mutant("V5", "mean term dropped", f"{GAUSSIAN}.elliptope", result(lambda Y: Y - np.outer(Y[0], Y[0]))),
    Mutant(
        "S5",
        "diagonal counted twice",
        "vispa.losses:QuadraticLoss.values",
        lambda f: lambda self, points: f(self, points) + points.square().sum(dim=1),
    ),
    Mutant("S5", "second best", "solvers.brute_force:brute_force", fields(value=lambda s: s.value + 1e-6)),
    Mutant(
        "S3",
        "one-sided noise mirrored",
        f"{ESTIMATORS}:noise_of",
        lambda f: lambda k: f((lambda x: k(-x)) if callable(k) and f(k).name == "custom" else k),
    ),
    Mutant("S3", "constant", "vispa.ste:EdeKernel.__call__", result(lambda k: 1.01 * k)),
    Mutant(
        "S6",
        "condition dropped",
        f"{ESTIMATORS}:conditional",
        instead(lambda loss, rows, draw: heuristics.marginal(loss, rows, draw)),
    ),
    Mutant(
        "S6",
        "kernel's constant",
        "vispa.exact_gradient:exact_gradient",
        result(lambda g: g._replace(mean=1.001 * g.mean)),
    ),
    Mutant("S10", "sign dropped", "vispa.heuristics:deterministic", instead(heuristics.at_mean)),
    Mutant("S10", "sign", "vispa.heuristics:deterministic", fields(gradient=lambda g: -g.gradient)),
    Mutant("S10", "slope", "vispa.heuristics:at_mean", fields(gradient=lambda g: 1.01 * g.gradient)),
    Mutant("P1", "sign smoothed", "vispa.nn.functions:sign", instead(torch.tanh)),
    Mutant("P1", "published rows projected", f"{LOW_RANK_WEIGHT}.project", instead(halved_mean)),
    Mutant("P2", "sqrt(S) dropped", f"{CORRELATED}.backward", result(lambda g: (g[0], 0.1 * g[1], *g[2:]))),
    Mutant("P2", "sign", f"{CORRELATED}.backward", result(lambda g: (-g[0], *g[1:]))),
    Mutant("P3", "variance", f"{LOW_RANK_WEIGHT}.draw", result(lambda r: 2.0 * r)),
    Mutant("P3", "exponent of S", f"{CORRELATED}.backward", result(lambda g: (g[0], 10.0 * g[1], *g[2:]))),
    Mutant("P4", "projection dropped", f"{LOW_RANK_WEIGHT}.project", instead(lambda self, mean: None)),
    Mutant("P5", "sign", "vispa.nn.activation:SignActivation.forward", result(lambda y: -y)),
    Mutant(
        "P5",
        "constant",
        "vispa.nn.activation:SignActivation.forward",
        result(lambda y: 0.5 * y + 0.5 * y.detach()),
    ),
]


def owner_of(subject: str) -> tuple[Any, str]:
    module, path = subject.split(":")
    owner: Any = importlib.import_module(module)
    *classes, name = path.split(".")
    for part in classes:
        owner = getattr(owner, part)
    return owner, name


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: f"{m.claim}-{m.subject.split(':')[1]}-{m.change}")
def test_a_broken_function_is_noticed(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, name = owner_of(mutant.subject)
    broken = mutant.mutate(getattr(owner, name))
    if isinstance(vars(owner).get(name), classmethod):
        broken = staticmethod(broken)
    monkeypatch.setattr(owner, name, broken)
    (outcome,) = run([mutant.claim], seed=0).outcomes
    assert outcome.verdict is Verdict.FAILS
    assert outcome.error == ""


def test_every_claim_has_a_mutant() -> None:
    assert {mutant.claim for mutant in MUTANTS} == set(CLAIMS)
