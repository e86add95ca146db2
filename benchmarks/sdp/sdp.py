"""Time `solvers.low_rank` beside its peers on unit-diagonal SDPs, one thread each.

    python -m benchmarks.sdp.sdp --output results G22 maxG11.dat-s --mixing path/to/mixing

Without files it generates three graphs.  Peers: pymanopt where installed, Clarabel and SCS on small instances,
and the mixing method where the path of its program is given.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def main(arguments: list[str] | None = None) -> int:
    """Measure, write the table, and print where it is."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="*", type=Path, help="graphs (rudy) or MaxCut SDPs (SDPA)")
    parser.add_argument("--output", type=Path, required=True, help="folder for the table and the JSON")
    parser.add_argument("--mixing", type=Path, help="program of the mixing method")
    parser.add_argument("--tol", type=float, default=1e-6, help="relative gap (default %(default)g)")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds a run (default %(default)g)")
    parser.add_argument("--size", type=int, default=800, help="vertices of generated graphs")
    parser.add_argument("--remark", default="", help="a sentence for the report")
    options = parser.parse_args(arguments)
    # libraries read these when they are first imported
    os.environ.update(dict.fromkeys(THREADS, "1"))
    from benchmarks.sdp.comparison import compare
    from benchmarks.sdp.first_call import measure_first_call
    from benchmarks.sdp.instances import from_file, generated
    from benchmarks.sdp.report import write

    instances = [from_file(path) for path in options.files] or generated(options.size)
    settings = {"tol": options.tol, "limit": options.limit, "threads": 1, "remark": options.remark}
    first_call = measure_first_call()
    rows = []
    for instance in instances:
        rows.append(compare(instance, options.tol, options.limit, options.mixing))
        # written anew each time: what was measured survives an interruption
        table = write(options.output, settings, rows, first_call)
        ours = rows[-1].ours()
        print(instance.name, "not certified" if ours is None else f"{ours:.3g} s", file=sys.stderr)
    print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
