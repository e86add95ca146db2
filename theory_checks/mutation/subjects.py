"""The formulas that claims rest on: each of these functions is broken in turn.

Left out are the solvers' iterations (a step length that is 1 % longer ends at the same optimum, and the
certificate decides about it), compiled kernels (their code cannot be exchanged while they run; tests compare
them with NumPy), and the bookkeeping around formulas.
"""

from __future__ import annotations

__all__ = ["SUBJECTS"]

_FORMULAS: dict[str, tuple[str, ...]] = {
    "vispa.gaussian": tuple(
        f"SignGaussian.{name}"
        for name in (
            "factorised", "from_solution", "latent_covariance", "projected", "ratios", "mean_signs", "covariance",
            "second_moments", "elliptope", "to_factor", "probabilities", "entropy", "conditional_entropy",
        )
    ),
    "vispa.orthant": ("sign_mean", "sign_covariance", "_plackett_integral", "pairwise_atanh_correlation"),
    "vispa.entropy": (
        "log_binary_entropy", "binary_entropy", "conditional_entropy", "conditional_arguments",
        "sample_log_marginal",
    ),
    "vispa.enumeration": ("mixture_probabilities", "entropy", "probabilities", "_mix"),
    "vispa.ste": (
        "hard_tanh_kernel", "bireal_kernel", "tanh_kernel", "gaussian_kernel", "swish_sign_kernel",
        "NoiseLaw.mean_sign", "_triangular_cumulative", "_triangular_quantile",
    ),
    "vispa.latent": ("latent", "signs_of", "probability_arguments", "carry_to_rows"),
    "vispa.estimators": ("straight_through", "gaussian", "rao_blackwell", "score", "_through_probabilities"),
    "vispa.losses": ("CallableLoss.gradients", "QuadraticLoss.values", "QuadraticLoss.gradients"),
    "vispa.cubature": ("sigma_points",),
    "vispa.optim.update": ("RunningMean.updated", "flipped", "bop_update", "second_order_update"),
    "vispa.optim.flip_law": ("flip_rate", "sign_agreement", "_decay"),
    "vispa.flips": ("FlipTracker.agreement", "FlipTracker._signs", "_shares"),
    "vispa.nn.functions": (
        "sign", "CorrelatedLatent.forward", "CorrelatedLatent.backward", "ScaledSign.forward",
        "ScaledSign.backward",
    ),
    "vispa.nn.weights": ("BinaryWeight.scales",),
    "vispa.nn.baselines": ("StraightThroughWeight.project",),
    "solvers.binary": ("BinaryForm.evaluate",),
    "solvers.problem": ("BinaryQuadratic.evaluate", "MaxCut.laplacian", "MaxCut.evaluate", "Elliptope.evaluate"),
    "solvers.certificate": ("dual_vector", "dual_bound", "dense_slack"),
    "solvers.sphere": ("normalise", "tangent", "retract"),
    "solvers.rounding": ("expected_homogeneous_value",),
    "solvers.solution": ("relative_gap",),
    "solvers.rigorous": ("_Scaled.bound",),
}  # fmt: skip

SUBJECTS: tuple[str, ...] = tuple(f"{module}:{name}" for module, names in _FORMULAS.items() for name in names)
