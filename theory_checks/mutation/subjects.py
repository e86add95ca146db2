"""The formulas that claims rest on: each of these functions is broken in turn.

Left out are the solvers' iterations (a step length that is 1 % longer ends at the same optimum, and the
certificate decides about it), compiled kernels (their code cannot be exchanged while they run; tests compare
them with NumPy), and the bookkeeping around formulas.
"""

from __future__ import annotations

__all__ = ["SUBJECTS"]

_FORMULAS: dict[str, tuple[str, ...]] = {
    "vispa.gaussian.sign_gaussian": tuple(
        f"SignGaussian.{name}"
        for name in (
            "factorised", "from_solution", "latent_covariance", "projected", "ratios", "mean_signs", "covariance",
            "second_moments", "elliptope", "to_factor", "probabilities", "entropy", "conditional_entropy",
        )
    ),
    "vispa.gaussian.orthant": ("sign_mean", "sign_covariance", "_plackett_integral", "pairwise_atanh_correlation"),
    "vispa.gaussian.entropy": (
        "log_binary_entropy", "binary_entropy", "conditional_entropy", "conditional_arguments",
        "sample_log_marginal",
    ),
    "vispa.gaussian.enumeration": ("mixture_probabilities", "entropy", "probabilities", "_mix"),
    "vispa.estimators.kernels": ("_hard_tanh", "_bireal", "_tanh", "_gaussian", "_swish_sign"),
    "vispa.estimators.noise_laws": ("NoiseLaw.mean_sign", "triangular_cumulative", "triangular_quantile"),
    "vispa.estimators.latent": ("latent", "signs_of", "probability_arguments", "carry_to_rows"),
    "vispa.estimators.registry": (
        "straight_through", "gaussian", "rao_blackwell", "score", "_through_probabilities",
    ),
    "vispa.estimators.losses": ("CallableLoss.gradients", "QuadraticLoss.values", "QuadraticLoss.gradients"),
    "vispa.gaussian.sigma_points": ("sigma_points",),
    "vispa.optim.update": ("RunningMean.updated", "flipped", "bop_update", "second_order_update"),
    "vispa.optim.flip_law": ("flip_rate", "sign_agreement", "_decay"),
    "vispa.optim.flip_tracker": ("FlipTracker.agreement", "FlipTracker._signs", "_shares"),
    "vispa.nn.weights.autograd": (
        "sign", "CorrelatedLatent.forward", "CorrelatedLatent.backward", "ScaledSign.forward",
        "ScaledSign.backward",
    ),
    "vispa.nn.weights.binary_weight": ("BinaryWeight.scales",),
    "vispa.nn.weights.projection": ("row_squares", "channel_squares"),
    "vispa.nn.methods.bayesbinn": ("natural_scale",),
    "vispa.nn.methods.mirror": ("tanh_weight", "mirror_step"),
    "vispa.nn.methods.ste": ("StraightThroughWeight.project",),
    "vispa.quantization.scales": ("fit_scales", "mean_scales"),
    "vispa.quantization.relaxation": ("_cost_at", "_ratio"),
    "solvers.problems.binary_form": ("BinaryForm.evaluate",),
    "solvers.problems.binary_quadratic": ("BinaryQuadratic.evaluate",),
    "solvers.problems.max_cut": ("MaxCut.laplacian", "MaxCut.evaluate"),
    "solvers.problems.elliptope": ("Elliptope.evaluate",),
    "solvers.certificates.dual_bound": ("dual_vector", "dual_bound", "dense_slack"),
    "solvers.linalg.sphere": ("normalise", "tangent", "retract"),
    "solvers.heuristics.rounding": ("expected_homogeneous_value",),
    "solvers.problems.solution": ("relative_gap",),
    "solvers.certificates.rigorous": ("_Scaled.bound",),
    "solvers.cuts.cliques": ("CliqueCuts.sides", "CliqueCuts.slacks", "CliqueCuts.priced"),
    "solvers.problems.integer_form": (
        "merged_weights", "next_below", "IntegerForm.energy", "IntegerForm.objective", "_whole",
    ),
    "solvers.problems.qubo": ("signs_from_binary",),
}  # fmt: skip

SUBJECTS: tuple[str, ...] = tuple(f"{module}:{name}" for module, names in _FORMULAS.items() for name in names)
