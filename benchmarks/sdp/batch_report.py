"""The batch benchmark as a Markdown table and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.record import heading, machine, number, save

if TYPE_CHECKING:
    from benchmarks.sdp.batch_ceilings import Ceilings
    from benchmarks.sdp.batch_result import Measured

LOOP = "low_rank in a loop, processor"


def write(
    folder: Path,
    device: torch.device,
    threads: int,
    remark: str,
    ceilings: Ceilings,
    rows: Sequence[Measured],
) -> Path:
    """Write sdp_batch_<date>_<device>.json and .md, threads named if several; return the second's path."""
    packages = ("vispa-sdp", "numpy", "scipy", "torch", "triton", "numba")
    facts = {**machine(packages, str(device)), "threads": threads, "remark": remark}
    shared = f"_{threads}_threads" if device.type == "cpu" and threads > 1 else ""
    table = folder / f"sdp_batch_{facts['date'][:10]}_{device.type}{shared}.md"
    content = {**facts, "ceilings": asdict(ceilings), "rows": [asdict(row) for row in rows]}
    return save(table, markdown(facts, ceilings, rows), content)


def markdown(facts: dict[str, Any], ceilings: Ceilings, rows: Sequence[Measured]) -> Iterable[str]:
    """The table, with what it was measured on and by what its columns are meant."""
    host = f"host {facts['processor']}, {facts['cores']} cores, {facts['threads']} thread(s)"
    yield from heading("Batches of dense unit-diagonal SDPs", facts, facts["device"], host)
    yield (
        "Gaussian costs G + G^T. Milliseconds a problem, median of up to three runs, certified: processor time "
        "of one thread, wall-clock time of several and of a GPU. The ratio to the loop is to `low_rank` on one "
        "problem after the other, at the same tolerance, on this host's processor. "
        "The shares count what the sweeps alone must do, 2 N^2 k operations and one reading of C in float32 each, "
        "against all the time and against this device's own best float32 product "
        f"({ceilings.products / 1e12:.3g} Tflop/s) and copy ({ceilings.bandwidth / 1e9:.3g} GB/s)."
    )
    yield ""
    yield (
        "| N | problems | dtype | tolerance | solver | certified | ms a problem | a second | x loop | "
        "sweeps (mean, most) | of products | of bandwidth | peak GiB |"
    )
    yield "|" + "---|" * 13
    for row in rows:
        yield "| " + " | ".join(cells(row, ceilings, rows)) + " |"


def cells(row: Measured, ceilings: Ceilings, rows: Sequence[Measured]) -> list[str]:
    """One line of the table."""
    each = None if row.seconds is None else 1e3 * row.seconds / row.problems
    loop = next(
        (
            1e3 * other.seconds / other.problems
            for other in rows
            if other.solver == LOOP and (other.order, other.tol) == (row.order, row.tol) and other.seconds
        ),
        None,
    )
    return [
        str(row.order),
        str(row.problems),
        row.dtype,
        f"{row.tol:g}",
        row.solver,
        str(row.certified),
        number(each),
        number(1e3 / each if each else None),
        number(loop / each if loop and each else None),
        f"{row.mean_sweeps:.0f}, {row.most_sweeps}",
        number(100 * row.flops / row.wall / ceilings.products, " %"),
        number(100 * row.bytes_read / row.wall / ceilings.bandwidth, " %"),
        number(row.peak_gibibytes),
    ]
