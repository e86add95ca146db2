"""`vispa solve`: certify the relaxation of a file's problem, round it, and search on from there."""

from __future__ import annotations

import argparse
import json
import math
import sys
from typing import Any

import scipy.sparse as sp

from solvers import checks
from solvers.heuristics.result import SearchResult
from solvers.heuristics.rounding import Rounding, round_homogeneous
from solvers.heuristics.tabu_search import tabu_search
from solvers.io.files import read_with_format
from solvers.io.registry import FORMATS
from solvers.problems.problem import Problem
from solvers.problems.solution import Iteration, Solution
from vispa.commands import prove

TOLERANCE = 1e-6
SAMPLES = 100
# The tabu search after rounding: an amount of work first, so that a seed decides the result, of about half a second
# (fewer flips where each touches more entries); the clock only guards against slow machines.
SEARCH_WORK = 20_000_000
SEARCH_SECONDS = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument(
        "file",
        metavar="FILE",
        help="a graph, a quadratic form or an SDP; bqp50.txt:3 is the third of several, - is standard input",
    )
    parser.add_argument(
        "--format",
        choices=tuple(FORMATS),
        metavar="F",
        help=f"{', '.join(FORMATS)} (default: by suffix and content)",
    )
    parser.add_argument(
        "--tol", type=float, default=TOLERANCE, metavar="T", help="relative gap to reach (default 1e-6)"
    )
    parser.add_argument(
        "--rank", type=int, metavar="K", help="columns of the factor to start with, at least 1"
    )
    parser.add_argument(
        "--method", choices=("low-rank", "exact"), default="low-rank", help="default: low-rank"
    )
    parser.add_argument("--rigorous", action="store_true", help="prove the bound with error bounds")
    parser.add_argument(
        "--device",
        metavar="D",
        help="solve on torch tensors there: cuda, cuda:1, cpu (default: compiled loops)",
    )
    parser.add_argument("--max-seconds", type=float, metavar="S", help="time limit of the solve")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of start point and rounding (default 0)"
    )
    parser.add_argument(
        "--prove", action="store_true", help="prove the optimum by branch and bound, beyond the relaxation"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Solve and report; 0 when certified, 1 when not."""
    _check(arguments)
    file = "/dev/stdin" if arguments.file == "-" else arguments.file
    problem, file_format = read_with_format(file, format=arguments.format)
    if arguments.prove:
        return prove.run(problem, file_format, arguments)
    solution = _solve(problem, arguments)
    rounding = round_homogeneous(solution, samples=SAMPLES, rng=arguments.seed)
    found = _search(solution, rounding, arguments.seed)
    report = {"format": file_format, **_report(arguments, solution, found)}
    sys.stdout.write(_json(report) if arguments.json else _text(report))
    return 0 if solution.certified else 1


def _check(arguments: argparse.Namespace) -> None:
    """Refuse what cannot be done before any work is done."""
    checks.scalar("--tol", arguments.tol, positive=True)
    checks.integer("--seed", arguments.seed, minimum=0)
    if arguments.max_seconds is not None:
        checks.scalar("--max-seconds", arguments.max_seconds, positive=True)
    if arguments.rank is not None:
        checks.integer("--rank", arguments.rank, minimum=1)
    if arguments.prove:
        prove.check_options(arguments, TOLERANCE)
    if arguments.method == "exact":
        for name, given in (
            ("--rank", arguments.rank is not None),
            ("--rigorous", arguments.rigorous),
            ("--device", arguments.device is not None),
        ):
            if given:
                raise ValueError(f"{name} belongs to --method low-rank; --method exact does not have it")


def _solve(problem: Problem, arguments: argparse.Namespace) -> Solution:
    if arguments.method == "exact":
        from solvers.exact.shor import exact

        return exact(problem, tol=arguments.tol, max_seconds=arguments.max_seconds)
    from tqdm import tqdm

    from solvers.low_rank import low_rank

    with tqdm(file=sys.stderr, disable=not sys.stderr.isatty(), unit=" sweeps", leave=False) as bar:

        def show(moment: Iteration) -> None:
            bar.set_postfix(value=f"{moment.value:.9g}", rank=moment.rank, refresh=False)
            bar.update(moment.iteration - bar.n)

        return low_rank(
            problem,
            rank=arguments.rank,
            tol=arguments.tol,
            certificate="rigorous" if arguments.rigorous else "estimate",
            max_seconds=arguments.max_seconds,
            callback=show,
            rng=arguments.seed,
            device=arguments.device,
        )


def _search(solution: Solution, rounding: Rounding, seed: int) -> SearchResult:
    """Improve the best sample; the work does not depend on the machine."""
    cost = solution.problem.relaxation().cost
    entries = cost.nnz if sp.issparse(cost) else cost.size
    steps = max(1, int(SEARCH_WORK / (100 + entries / cost.shape[0])))
    return tabu_search(
        solution.problem,
        rounding.signs,
        max_iterations=steps,
        max_seconds=SEARCH_SECONDS,
        solution=solution,
        rng=seed,
    )


def _report(arguments: argparse.Namespace, solution: Solution, found: SearchResult) -> dict[str, Any]:
    """All that is known, in the sense in which the file states its problem."""
    relaxation = solution.problem.relaxation()
    return {
        "file": arguments.file,
        "size": relaxation.size,
        "method": arguments.method,
        **solution.report(),
        "rounded_value": 0.0 - found.value if relaxation.maximised else found.value,
        "rounded_gap": found.gap,
    }


def _json(report: dict[str, Any]) -> str:
    """One object; an infinite bound, for which JSON has no number, becomes null."""
    numbers = {key: None if value in (math.inf, -math.inf) else value for key, value in report.items()}
    return json.dumps(numbers, allow_nan=False) + "\n"


def _text(report: dict[str, Any]) -> str:
    bound = "upper_bound" if "upper_bound" in report else "lower_bound"
    rows = [
        ("format", report["format"]),
        ("value", f"{report['value']:.12g}"),
        (bound.replace("_", " "), f"{report[bound]:.12g}"),
        ("relative gap", f"{report['gap']:.3g}"),
        ("certificate", report["certificate"]),
        ("rank", str(report["rank"])),
        ("seconds", f"{report['seconds']:.3f}"),
        ("best rounded value", f"{report['rounded_value']:.12g}  (gap {report['rounded_gap']:.3g})"),
        ("status", f"{report['status']}: {report['message']}"),
    ]
    return "".join(f"{name:<20}{value}\n" for name, value in rows)
