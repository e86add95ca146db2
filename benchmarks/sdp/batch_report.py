"""The batch benchmark as a Markdown table and as JSON."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.sdp.report import machine

if TYPE_CHECKING:
    from benchmarks.sdp.batch_ceilings import Ceilings
    from benchmarks.sdp.batch_result import Measured

# Milliseconds a problem of SCS 3.3.1 through CVXPY 1.9.3, in its best form, to 1e-6, on one EPYC core: measured on
# another machine than the rows beside it unless the remark says otherwise.
SCS_MILLISECONDS = {64: 104.0, 256: 3650.0}
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
    folder.mkdir(parents=True, exist_ok=True)
    facts = machine()
    for package in ("torch", "triton", "numba"):
        installed = importlib.util.find_spec(package) is not None
        facts["versions"][package] = metadata.version(package) if installed else "not installed"
    facts["device"] = torch.cuda.get_device_name(device) if device.type == "cuda" else facts["processor"]
    facts |= {"threads": threads, "remark": remark, "ceilings": asdict(ceilings)}
    shared = f"_{threads}_threads" if device.type == "cpu" and threads > 1 else ""
    stem = folder / f"sdp_batch_{facts['date'][:10]}_{device.type}{shared}"
    content = {**facts, "rows": [asdict(row) for row in rows]}
    stem.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n")
    stem.with_suffix(".md").write_text("\n".join(markdown(facts, ceilings, rows)) + "\n")
    return stem.with_suffix(".md")


def markdown(facts: dict[str, Any], ceilings: Ceilings, rows: Sequence[Measured]) -> Iterable[str]:
    """The table, with what it was measured on and by what its columns are meant."""
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    yield f"# Batches of dense unit-diagonal SDPs, {facts['date'][:10]}"
    yield ""
    host = f"host {facts['processor']}, {facts['cores']} cores, {facts['threads']} thread(s)"
    yield f"{facts['device']}; {host}; {facts['system']}; {versions}. {facts['remark']}".strip()
    yield ""
    yield (
        "Gaussian costs G + G^T. Milliseconds a problem, median of up to three runs, certified: processor time "
        "of one thread, wall-clock time of several and of a GPU. The ratio to the loop is to `low_rank` on one "
        "problem after the other, at the same tolerance, on this host's processor. The ratio to SCS is to 104 ms "
        "(n = 64) and 3650 ms (n = 256) through CVXPY to 1e-6 on one EPYC core, another machine: an orientation, "
        "no more. "
        "The shares count what the sweeps alone must do, 2 N^2 k operations and one reading of C in float32 each, "
        "against all the time and against this device's own best float32 product "
        f"({ceilings.products / 1e12:.3g} Tflop/s) and copy ({ceilings.bandwidth / 1e9:.3g} GB/s)."
    )
    yield ""
    yield (
        "| N | problems | dtype | tolerance | solver | certified | ms a problem | a second | x loop | x SCS | "
        "sweeps (mean, most) | of products | of bandwidth | peak GiB |"
    )
    yield "|" + "---|" * 14
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
    scs = SCS_MILLISECONDS.get(row.order)
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
        number(scs / each if scs and each else None),
        f"{row.mean_sweeps:.0f}, {row.most_sweeps}",
        number(100 * row.flops / row.wall / ceilings.products, " %"),
        number(100 * row.bytes_read / row.wall / ceilings.bandwidth, " %"),
        number(row.peak_gibibytes),
    ]


def number(value: float | None, unit: str = "") -> str:
    """Three digits, or a dash."""
    return "—" if value is None else f"{value:.3g}{unit}"
