"""All claims, by identifier and by family."""

from __future__ import annotations

from theory_checks import (
    bop,
    bound,
    branching_rules,
    central_path,
    clique_bounds,
    correlated,
    dead_weights,
    duality,
    flips,
    gauge,
    low_rank_estimator,
    one_method,
    optimisers,
    published_layer,
    quantized_layer,
    radius,
    relaxation,
    rounding_law,
    sigma_points,
    staircase,
    straight_through,
    wrong_signs,
)
from theory_checks.claim import Claim

FAMILIES: dict[str, tuple[Claim, ...]] = {
    "gauge": (*gauge.CLAIMS, *radius.CLAIMS),
    "relaxation": (
        *relaxation.CLAIMS,
        *duality.CLAIMS,
        *staircase.CLAIMS,
        *rounding_law.CLAIMS,
        *central_path.CLAIMS,
        *clique_bounds.CLAIMS,
    ),
    "straight-through": (
        *straight_through.CLAIMS,
        *correlated.STRAIGHT_THROUGH,
        *low_rank_estimator.CLAIMS,
        *sigma_points.CLAIMS,
        *wrong_signs.CLAIMS,
    ),
    "layer": published_layer.CLAIMS,
    "quantization": quantized_layer.CLAIMS,
    "bound": (*bound.CLAIMS, *correlated.BOUND),
    "proofs": (*clique_bounds.PROOFS, *branching_rules.CLAIMS),
    "methods": one_method.CLAIMS,
    "optimiser": (*optimisers.CLAIMS, *bop.CLAIMS, *flips.CLAIMS, *dead_weights.CLAIMS),
}

CLAIMS: dict[str, Claim] = {
    claim.identifier: claim
    for family in FAMILIES.values()
    for claim in sorted(family, key=lambda claim: int(claim.identifier[1:]))
}
