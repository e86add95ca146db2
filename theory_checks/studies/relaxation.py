"""What rank buys: relaxation, rounding and variational bounds against enumeration.

    python -m theory_checks.studies.relaxation --output docs/studies

Quadratics with 20 weights, one-hidden-layer binary networks with 15, all by full enumeration.  A few minutes on one
core.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from solvers.problems.problem import BinaryQuadratic
from theory_checks import instances
from theory_checks.studies import record
from theory_checks.studies.relaxation_cases import FAMILIES, NETWORK_SIZE, SIZE
from theory_checks.studies.relaxation_measure import entropies, network, quadratic

# Laws at temperature one: the claim V3's ferromagnet, and a glass as strong as its temperature.
FERROMAGNET, GLASS = "ferromagnet, n = 6", "spin glass, n = 8"


def run(*, seed: int = 0, repeats: int = 12) -> dict[str, Any]:
    """Measure all families.

    Parameters
    ----------
    seed : int, optional
        Of all instances and solvers.
    repeats : int, optional
        Random instances a family.

    Returns
    -------
    dict
        Plain values, ready for JSON; every number by instance.
    """
    study: dict[str, Any] = {
        **record.provenance(),
        "seed": seed,
        "repeats": repeats,
        "weights": SIZE,
        "network_weights": NETWORK_SIZE,
        "quadratics": {name: [] for name in FAMILIES},
        "networks": [],
        "entropies": {},
    }
    progress = tqdm(total=repeats * (len(FAMILIES) + 1) + 2, unit="instance", disable=None)
    for repeat in range(repeats):
        for name, draw in FAMILIES.items():
            rng = np.random.default_rng([seed, repeat, *name.encode()])
            study["quadratics"][name].append(quadratic(draw(rng), rng))
            progress.update()
        study["networks"].append(network(np.random.default_rng([seed, repeat])))
        progress.update()
    rng = np.random.default_rng([seed, repeats])
    for name, problem in (
        (FERROMAGNET, BinaryQuadratic(np.full((6, 6), -0.1))),
        (GLASS, BinaryQuadratic(instances.symmetric(rng, 8) / np.sqrt(8))),
    ):
        study["entropies"][name] = entropies(problem, rng)
        progress.update()
    progress.close()
    return study


def main(argv: Sequence[str] | None = None) -> int:
    """Run the study and write its files."""
    arguments = record.parser(__doc__.splitlines()[0], repeats=12).parse_args(argv)
    from theory_checks.studies.relaxation_plot import save_plot
    from theory_checks.studies.relaxation_report import report

    torch.set_num_threads(1)
    study = run(seed=arguments.seed, repeats=arguments.repeats)
    stem = record.write(arguments.output, "relaxation", study, report(study))
    save_plot(stem.with_suffix(".png"), study)
    sys.stdout.write(f"{stem.with_suffix('.md')}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
