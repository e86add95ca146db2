"""Break every formula in every way, and record which claim notices: ``python -m theory_checks.mutate``.

It takes about an hour.  The table, theory_checks/mutation/results.json, is part of the repository; survivors are
explained in survivors.json beside it, and one that is not makes the command fail.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tqdm import tqdm

from theory_checks.mutation.mutants import Mutant, mutants_of
from theory_checks.mutation.subjects import SUBJECTS
from theory_checks.mutation.table import RESULTS, Table, explanations
from theory_checks.mutation.verdicts import Kill, Use, examine, uses, verdict_of

# Slower claims are asked only about mutants of formulas that no quicker claim runs, and for the sample.
QUICK_SECONDS = 5.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Examine the mutants and update the table; 1 if a survivor is not explained."""
    parser = argparse.ArgumentParser(prog="theory_checks.mutate", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="TEXT", help="subjects that contain one of these")
    parser.add_argument("--sample", action="store_true", help="only choose the mutant of every claim again")
    options = parser.parse_args(arguments)
    chosen = [s for s in SUBJECTS if not options.only or any(text in s for text in options.only)]
    table = Table.read() if RESULTS.exists() else Table({}, {})
    found = uses(SUBJECTS)
    if not options.sample:
        kills = examine_all(chosen, found)
        # Another process may have written its subjects meanwhile.
        table = Table.read() if RESULTS.exists() else table
        table.forget(chosen)
        table.kills.update(kills)
        table.write()
    if options.sample or not options.only:
        table.sample = choose_sample(table, found)
        table.write()
    unexplained = sorted(set(table.survivors) - set(explanations()))
    killed = len(table.kills) - len(table.survivors)
    sys.stdout.write(f"{killed} of {len(table.kills)} mutants noticed; survivors without a reason:\n")
    sys.stdout.writelines(f"  {name}\n" for name in unexplained)
    return 1 if unexplained else 0


def examine_all(subjects: Sequence[str], found: dict[str, Use]) -> dict[str, Kill | None]:
    """Examine every mutant of the subjects, by the claims that run it, the quickest first."""
    kills: dict[str, Kill | None] = {}
    mutants = [mutant for subject in subjects for mutant in mutants_of(subject)]
    for mutant in tqdm(mutants, unit="mutant", disable=None):
        kills[mutant.identifier] = examine(mutant, claims_for(mutant.subject, found))
    return kills


def claims_for(subject: str, found: dict[str, Use]) -> list[str]:
    """Claims that run a subject, the quickest first, and without slow ones where there is a quick one."""
    able = sorted((use.seconds, name) for name, use in found.items() if subject in use.subjects)
    quick = [name for seconds, name in able if seconds <= QUICK_SECONDS]
    return quick or [name for _, name in able]


def choose_sample(table: Table, found: dict[str, Use]) -> dict[str, str]:
    """For every claim, a mutant that it notices by a measured number."""
    sample: dict[str, str] = {}
    for claim, use in tqdm(found.items(), unit="claim", disable=None):
        attributed = [name for name, kill in table.kills.items() if kill == (claim, "measured")]
        if attributed:
            sample[claim] = attributed[0]
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
