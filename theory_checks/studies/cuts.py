"""What cuts close: the gap between Shor's bound and the optimum under cliques of three, five and seven.

    python -m theory_checks.studies.cuts --output docs/studies [--layer FILE]

Problems of 50 signs whose optima branch and bound proves, and the rows of a trained layer at their best scales.
FILE holds ``weights`` (J, n) and ``gram`` (n, n), the inputs' second moments.  A few minutes on one core.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from solvers.branching.branch_and_bound import branch_and_bound
from solvers.cuts.strengthen import strengthen
from solvers.low_rank import low_rank
from solvers.problems.problem import BinaryQuadratic, MaxCut
from theory_checks import instances
from theory_checks.studies import record
from vispa.quantization.layer_problem import LayerProblem
from vispa.quantization.scales import fit_scales, group_borders

Array = NDArray[np.float64]
Stated = BinaryQuadratic | MaxCut

SIZE, SIDE = 50, 7
CLIQUES = (3, 5, 7)
# An optimum that is not proved after so long stands as the best value found.
MOST_SECONDS = 30.0
LAYER = "trained layer"


def spin_glass(rng: np.random.Generator) -> BinaryQuadratic:
    """Sherrington-Kirkpatrick: Gaussian couplings between all pairs."""
    couplings = instances.symmetric(rng, SIZE)
    return BinaryQuadratic(couplings - np.diag(np.diag(couplings)))


def lattice_glass(rng: np.random.Generator) -> BinaryQuadratic:
    """Gaussian couplings between neighbours on a torus: nearly planar."""
    ring = np.roll(np.eye(SIDE), 1, axis=1)
    neighbours = np.kron(ring, np.eye(SIDE)) + np.kron(np.eye(SIDE), ring)
    couplings = neighbours * rng.normal(size=neighbours.shape)
    return BinaryQuadratic(0.5 * (couplings + couplings.T))


def maxcut(rng: np.random.Generator) -> MaxCut:
    """Half of all edges, unweighted."""
    upper = np.triu(rng.random((SIZE, SIZE)) < 0.5, 1).astype(np.float64)
    return MaxCut(upper + upper.T)


def sparse_maxcut(rng: np.random.Generator) -> MaxCut:
    """Six edges a vertex, unweighted."""
    upper = np.triu(rng.random((SIZE, SIZE)) < 6.0 / SIZE, 1).astype(np.float64)
    return MaxCut(upper + upper.T)


def binary_teacher(rng: np.random.Generator) -> BinaryQuadratic:
    """Least squares |X w - y|^2 with as many examples as weights, y = X w* + noise of the same size."""
    inputs = rng.normal(size=(SIZE, SIZE)) / np.sqrt(SIZE)
    labels = inputs @ rng.choice([-1.0, 1.0], size=SIZE) + rng.normal(size=SIZE)
    return BinaryQuadratic(inputs.T @ inputs, -2.0 * inputs.T @ labels, constant=float(labels @ labels))


FAMILIES: dict[str, Callable[[np.random.Generator], Stated]] = {
    "spin glass, all pairs": spin_glass,
    "spin glass, torus": lattice_glass,
    "MaxCut, half of all edges": maxcut,
    "MaxCut, six edges a vertex": sparse_maxcut,
    "binary teacher": binary_teacher,
}


def layer_rows(file: Path, count: int) -> list[BinaryQuadratic]:
    """|X w - alpha X s|^2 over the signs of the first rows, alpha the best scale of sgn(w); no dead inputs."""
    with np.load(file) as stored:
        weights, gram = stored["weights"].astype(np.float64), stored["gram"].astype(np.float64)
    live = np.flatnonzero(np.diagonal(gram) > 0)
    layer = LayerProblem.of(weights[:count, live], gram[np.ix_(live, live)])
    signs = np.where(layer.weights >= 0, 1.0, -1.0)
    scales = fit_scales(layer, signs, group_borders(live.size, None)).scales[:, 0]
    return [
        BinaryQuadratic(scale**2 * layer.gram, -2.0 * scale * linear, constant=float(energy))
        for scale, linear, energy in zip(scales.tolist(), layer.linear, layer.energy, strict=True)
    ]


def measure(problem: Stated) -> dict[str, Any]:
    """Bounds without and with cuts, the best value, whether it is proved, and processor seconds."""
    shor = low_rank(problem, tol=1e-8, certificate="rigorous", rng=0).lower_bound
    bounds, seconds = [], []
    for largest in CLIQUES:
        began = time.process_time()
        bounds.append(strengthen(problem, largest_clique=largest, rng=0).lower_bound)
        seconds.append(time.process_time() - began)
    found = branch_and_bound(problem, max_seconds=MOST_SECONDS, rng=0)
    return {
        "shor": shor,
        "bounds": bounds,
        "seconds": seconds,
        "value": found.value,
        "proved": found.optimal,
        "nodes": found.nodes,
        "closed": [(bound - shor) / (found.value - shor) for bound in bounds],
        "gap": (found.value - shor) / abs(found.value),
    }


def run(*, seed: int = 0, repeats: int = 8, layer: Path | None = None) -> dict[str, Any]:
    """Measure all families.

    Parameters
    ----------
    seed : int, optional
        Of the random problems.
    repeats : int, optional
        Problems a family.
    layer : Path, optional
        A trained layer, for a family of its own.

    Returns
    -------
    dict
        Plain values, ready for JSON.
    """
    problems: dict[str, list[Stated]] = {
        name: [draw(np.random.default_rng([seed, repeat, *name.encode()])) for repeat in range(repeats)]
        for name, draw in FAMILIES.items()
    }
    if layer is not None:
        problems[LAYER] = list(layer_rows(layer, repeats))
    study: dict[str, Any] = {**record.provenance(), "seed": seed, "repeats": repeats, "families": {}}
    study["layer"] = None if layer is None else layer.name
    for name, drawn in problems.items():
        study["families"][name] = [measure(problem) for problem in tqdm(drawn, desc=name, disable=None)]
    return study


def main(argv: Sequence[str] | None = None) -> int:
    """Run the study and write its files."""
    parser = record.parser(__doc__.splitlines()[0], repeats=8)
    parser.add_argument("--layer", type=Path, default=None, metavar="FILE", help="a trained layer, .npz")
    arguments = parser.parse_args(argv)
    from theory_checks.studies.cuts_report import report, save_plot

    study = run(seed=arguments.seed, repeats=arguments.repeats, layer=arguments.layer)
    stem = record.write(arguments.output, "cuts", study, report(study))
    save_plot(stem.with_suffix(".png"), study)
    sys.stdout.write(f"{stem.with_suffix('.md')}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
