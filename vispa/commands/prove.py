"""`vispa solve FILE --prove`: the optimum itself, by branch and bound."""

from __future__ import annotations

import argparse
import json
import math
import sys

from solvers.branching.branch_and_bound import branch_and_bound
from solvers.branching.records import TreeMoment
from solvers.branching.result import ProvedSolution
from solvers.problems.problem import Problem


def check_options(arguments: argparse.Namespace, default_tolerance: float) -> None:
    """Refuse the options of the relaxation, which would not be heard."""
    given = {
        "--tol": arguments.tol != default_tolerance,
        "--rank": arguments.rank is not None,
        "--method": arguments.method != "low-rank",
        "--rigorous": arguments.rigorous,
        "--device": arguments.device is not None,
    }
    for name, found in given.items():
        if found:
            raise ValueError(
                f"{name} belongs to the relaxation; --prove proves the optimum and does not have it"
            )


def prove(problem: Problem, arguments: argparse.Namespace) -> ProvedSolution:
    """Branch and bound, with a bar on standard error."""
    from tqdm import tqdm

    with tqdm(file=sys.stderr, disable=not sys.stderr.isatty(), unit=" nodes", leave=False) as bar:

        def show(moment: TreeMoment) -> None:
            bar.set_postfix(value=f"{moment.value:.9g}", bound=f"{moment.lower_bound:.9g}", refresh=False)
            bar.update(moment.nodes - bar.n)

        return branch_and_bound(problem, max_seconds=arguments.max_seconds, callback=show, rng=arguments.seed)


def run(problem: Problem, file_format: str, arguments: argparse.Namespace) -> int:
    """Prove and report; 0 when the optimum is proved, 1 when not."""
    solution = prove(problem, arguments)
    report = {"format": file_format, "file": arguments.file, **solution.report()}
    if arguments.json:
        numbers = {name: None if value in (math.inf, -math.inf) else value for name, value in report.items()}
        sys.stdout.write(json.dumps(numbers, allow_nan=False) + "\n")
    else:
        bound = "upper_bound" if "upper_bound" in report else "lower_bound"
        rows = [
            ("value", f"{report['value']:.12g}"),
            (bound.replace("_", " "), f"{report[bound]:.12g}"),
            ("relative gap", f"{report['gap']:.3g}"),
            ("nodes", f"{report['nodes']} ({report['open_nodes']} open)"),
            ("seconds", f"{report['seconds']:.3f}"),
            ("status", f"{report['status']}: {report['message']}"),
        ]
        sys.stdout.write("".join(f"{name:<20}{value}\n" for name, value in rows))
    return 0 if solution.optimal else 1
