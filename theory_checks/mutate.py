"""Break every formula in every way, and record which claim notices: ``python -m theory_checks.mutate``.

It takes about half an hour.  The table, theory_checks/mutation/results.json, is part of the repository; survivors
are explained in survivors.json beside it, and one that is not makes the command fail.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence

from tqdm import tqdm

from theory_checks.mutation.mutants import Mutant, mutants_of
from theory_checks.mutation.subjects import SUBJECTS
from theory_checks.mutation.table import RESULTS, Table, explanations
from theory_checks.mutation.verdicts import Kill, Use, examine, uses, verdict_of

# Slower claims are asked only about mutants that every quicker one let live.
QUICK_SECONDS = 2.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Examine the mutants and update the table; 1 if a survivor is not explained."""
    parser = argparse.ArgumentParser(prog="theory_checks.mutate", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="TEXT", help="subjects that contain one of these")
    parser.add_argument("--again", action="store_true", help="also the mutants that the table has as noticed")
    options = parser.parse_args(arguments)
    chosen = [s for s in SUBJECTS if not options.only or any(text in s for text in options.only)]
    mutants = {mutant.identifier: mutant for subject in chosen for mutant in mutants_of(subject)}
    table = Table.read() if RESULTS.exists() else Table({}, {})
    known = {} if options.again else {name: kill for name, kill in table.kills.items() if kill is not None}
    found = uses(SUBJECTS)
    fresh = [mutant for name, mutant in mutants.items() if name not in known]
    table.replace(chosen, {**{name: known[name] for name in mutants if name in known}, **judge(fresh, found)})
    if not options.only:
        table.sample = choose_sample(table, found)
    table.write()
    unexplained = sorted(set(table.survivors) - set(explanations()))
    killed = len(table.kills) - len(table.survivors)
    sys.stdout.write(f"{killed} of {len(table.kills)} mutants noticed; survivors without a reason:\n")
    sys.stdout.writelines(f"  {name}\n" for name in unexplained)
    return 1 if unexplained else 0


def judge(mutants: Iterable[Mutant], found: dict[str, Use]) -> dict[str, Kill | None]:
    """Show every mutant to the quick claims that run it, then those that live to the slow ones."""
    kills: dict[str, Kill | None] = {}
    rounds: tuple[tuple[str, Callable[[float], bool]], ...] = (
        ("quick", lambda seconds: seconds <= QUICK_SECONDS),
        ("slow", lambda seconds: seconds > QUICK_SECONDS),
    )
    remaining = list(mutants)
    for name, admits in rounds:
        for mutant in tqdm(remaining, desc=name, unit="mutant", disable=None):
            able = sorted(
                (use.seconds, claim) for claim, use in found.items() if mutant.subject in use.subjects
            )
            kills[mutant.identifier] = examine(mutant, [claim for seconds, claim in able if admits(seconds)])
        remaining = [mutant for mutant in remaining if kills[mutant.identifier] is None]
    return kills


def choose_sample(table: Table, found: dict[str, Use]) -> dict[str, str]:
    """For every claim, a mutant that it notices by a measured number."""
    sample: dict[str, str] = {}
    for claim, use in tqdm(found.items(), desc="sample", unit="claim", disable=None):
        attributed = [name for name, kill in table.kills.items() if kill == (claim, "measured")]
        if attributed:
            sample[claim] = (
                table.sample.get(claim, "") if table.sample.get(claim) in attributed else attributed[0]
            )
            continue
        noticed = (mutant for mutant in _strongest_first(use) if verdict_of(mutant, claim) == "measured")
        mutant = next(noticed, None)
        if mutant is not None:
            sample[claim] = mutant.identifier
    return sample


def _strongest_first(use: Use) -> list[Mutant]:
    mutants = [mutant for subject in sorted(use.subjects) for mutant in mutants_of(subject)]
    return sorted(mutants, key=lambda mutant: not mutant.change.startswith("result"))


if __name__ == "__main__":
    sys.exit(main())
