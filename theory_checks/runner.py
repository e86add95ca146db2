"""Run claims, each on a generator of its own, and gather the outcomes."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from solvers import checks
from theory_checks.claim import Claim, Outcome, Trial, Verdict
from theory_checks.registry import CLAIMS, FAMILIES

# Chance, over seeds, that a run in which everything is true reports any failure.
ERROR_BUDGET = 1e-6


@dataclass(frozen=True)
class Report:
    """The outcomes of one run, in the order of the registry.

    Attributes
    ----------
    seed : int
        The seed of the run.
    outcomes : tuple of Outcome
        One a claim.
    slow : bool
        Whether it took more samples and larger problems.
    """

    seed: int
    outcomes: tuple[Outcome, ...]
    slow: bool = False

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """The outcomes of claims that failed."""
        return tuple(outcome for outcome in self.outcomes if outcome.verdict is Verdict.FAILS)

    @property
    def error_probability(self) -> float:
        """Chance of any false alarm in the run, by the union bound."""
        return sum(outcome.error_probability for outcome in self.outcomes)

    @property
    def passed(self) -> bool:
        """Whether every claim holds, and the Monte Carlo tests kept within their joint error budget."""
        return bool(self.outcomes) and not self.failed and self.error_probability <= ERROR_BUDGET

    def as_json(self) -> dict[str, Any]:
        """Plain values, each claim under its identifier."""
        return {
            "seed": self.seed,
            "slow": self.slow,
            "passed": self.passed,
            "error_probability": self.error_probability,
            "error_budget": ERROR_BUDGET,
            "seconds": sum(outcome.seconds for outcome in self.outcomes),
            "claims": {outcome.claim.identifier: outcome.as_json() for outcome in self.outcomes},
        }


def select(names: Iterable[str] | None = None) -> tuple[Claim, ...]:
    """Claims by identifier ("R3") or family ("relaxation"), in any case; all where ``names`` is None.

    Raises
    ------
    ValueError
        If a name is neither, with the list of those that are, and if there is no name at all.

    Examples
    --------
    >>> [claim.identifier for claim in select(["r3", "g1"])]
    ['G1', 'R3']
    """
    if names is None:
        return tuple(CLAIMS.values())
    names = [names] if isinstance(names, str) else list(names)
    if not names:
        raise ValueError("only must name at least one claim or family; found none")
    wanted: set[str] = set()
    for name in names:
        if name.upper() in CLAIMS:
            wanted.add(name.upper())
        elif name.lower() in FAMILIES:
            wanted.update(member.identifier for member in FAMILIES[name.lower()])
        else:
            known = ", ".join([*CLAIMS, *FAMILIES])
            raise ValueError(f"only must name a claim or a family, one of {known}; found {name!r}")
    return tuple(claim for identifier, claim in CLAIMS.items() if identifier in wanted)


def run(only: Iterable[str] | None = None, *, seed: int = 0, slow: bool = False) -> Report:
    """Check claims and report what was measured.

    Parameters
    ----------
    only : iterable of str, optional
        Identifiers or families, as in `select`; every claim by default.
    seed : int, optional
        A claim's numbers depend on the seed and its own identifier, not on the company it runs in.
    slow : bool, optional
        Whether to take more instances, more samples and larger problems; minutes instead of a minute.

    Returns
    -------
    Report
        `passed` is False if any claim failed.

    Raises
    ------
    ValueError
        If a name is unknown, there is none, or the seed is negative.

    Examples
    --------
    >>> run(["R1"], seed=3).outcomes[0].verdict.value
    'holds'
    """
    seed = checks.integer("seed", seed, minimum=0)
    progress = tqdm(select(only), unit="claim", leave=False, disable=None)
    outcomes = []
    for claim in progress:
        progress.set_description(claim.identifier)
        trial = Trial(np.random.default_rng([seed, *claim.identifier.encode()]), slow)
        began = time.perf_counter()
        outcome = claim.check(trial)
        outcomes.append(dataclasses.replace(outcome, seconds=time.perf_counter() - began))
    return Report(seed, tuple(outcomes), slow)
