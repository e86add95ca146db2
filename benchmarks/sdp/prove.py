"""Prove the optima of the BiqMac library's problems: value, nodes and seconds of each, on one core.

    python -m benchmarks.sdp.prove FOLDER [--min-order 0] [--max-order 100] [--max-seconds 120] [--output NAME]

FOLDER holds the files and `optima.json` with the best values known.  Results are written after every problem, and a
run goes on where an earlier one with the same output stopped.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

from solvers import branch_and_bound, read_problem

RESULTS = Path(__file__).resolve().parents[1] / "results"


def prove(path: Path, best: float | None, max_seconds: float) -> dict:
    problem = read_problem(path)
    clock = time.process_time()

    def limit(_moment):
        if time.process_time() - clock > max_seconds:
            raise StopIteration

    solution = branch_and_bound(problem, rng=0, callback=limit)
    report = solution.report()
    return {
        "optimal": solution.optimal,
        "value": report["value"],
        "agrees": None if best is None else report["value"] == best,
        "bound": report.get("upper_bound", report.get("lower_bound")),
        "root_bound": solution.form.objective(solution.tree[0].bound) if solution.tree else None,
        "nodes": solution.nodes,
        "seconds": solution.seconds,
        "processor_seconds": time.process_time() - clock,
    }


def table(results: dict[str, dict]) -> str:
    families: dict[str, list[dict]] = {}
    for row in results.values():
        families.setdefault(f"{row['family']} n={row['n']}", []).append(row)
    lines = [
        "| problems | proved | values agree | median nodes | median s | largest s |",
        "|---|---|---|---|---|---|",
    ]
    for name, rows in sorted(families.items()):
        seconds = [row["processor_seconds"] for row in rows]
        listed = [row["agrees"] for row in rows if row["agrees"] is not None]
        nodes = statistics.median(row["nodes"] for row in rows)
        lines.append(
            f"| {name} | {sum(row['optimal'] for row in rows)} of {len(rows)} | {sum(listed)} of {len(listed)} "
            f"| {nodes:g} | {statistics.median(seconds):.1f} | {max(seconds):.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--min-order", type=int, default=0)
    parser.add_argument("--max-order", type=int, default=100)
    parser.add_argument("--max-seconds", type=float, default=120.0)
    parser.add_argument("--output", default=f"prove_{time.strftime('%Y-%m-%d')}")
    options = parser.parse_args()
    optima = json.loads((options.folder / "optima.json").read_text())
    file = RESULTS / f"{options.output}.json"
    results = json.loads(file.read_text()) if file.exists() else {}
    orders = range(options.min_order, options.max_order + 1)
    chosen = [name for name, row in optima.items() if row["n"] in orders and name not in results]
    # one of each family at a time, so that a run that is cut short says something of all
    chosen.sort(key=lambda name: (name.split("_")[-1].split("-")[-1], optima[name]["family"], name))
    for name in chosen:
        row = optima[name]
        found = prove(options.folder / name, row["best"], options.max_seconds)
        results[name] = {"family": row["family"], "n": row["n"], **found}
        print(name, results[name], flush=True)
        file.write_text(json.dumps(results, indent=1) + "\n")
        heading = f"Optima proved on one core, at most {options.max_seconds:g} processor seconds each."
        (RESULTS / f"{options.output}.md").write_text(f"{heading}\n\n{table(results)}\n")


if __name__ == "__main__":
    main()
