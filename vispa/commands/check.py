"""`vispa check`: every claim of the theory, measured beside its bound."""

from __future__ import annotations

import argparse
import json
import sys


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument(
        "--only",
        action="append",
        metavar="NAME",
        help="a claim (such as R3) or a family (such as relaxation), shown in full; may be repeated",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the run (default: 0)")
    parser.add_argument(
        "--slow", action="store_true", help="more instances, more samples and larger problems; minutes"
    )
    parser.add_argument("--json", action="store_true", help="write one JSON object to standard output")


def run(arguments: argparse.Namespace) -> int:
    """Check the claims, write the table or the JSON, and return 1 when a claim fails."""
    from theory_checks.runner import run as run_claims
    from theory_checks.table import format_report

    report = run_claims(arguments.only, seed=arguments.seed, slow=arguments.slow)
    if arguments.json:
        text = json.dumps(report.as_json(), indent=2, allow_nan=False)
    else:
        text = format_report(report, details=arguments.only is not None)
    sys.stdout.write(text + "\n")
    return 0 if report.passed else 1
