"""All claims, by identifier and by family."""

from __future__ import annotations

from theory_checks import bound, gauge, relaxation
from theory_checks.claim import Claim

FAMILIES: dict[str, tuple[Claim, ...]] = {
    "gauge": gauge.CLAIMS,
    "relaxation": relaxation.CLAIMS,
    "bound": bound.CLAIMS,
}

CLAIMS: dict[str, Claim] = {claim.identifier: claim for family in FAMILIES.values() for claim in family}
