"""The measurements on huge graphs as Markdown tables and as JSON, with device and versions."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.record import heading, machine, save

PACKAGES = ("vispa-sdp", "torch", "triton", "numpy", "scipy")


def write(
    folder: Path, settings: dict[str, Any], rows: list[dict[str, Any]], kernels: list[dict[str, Any]]
) -> Path:
    """Write sdp_huge_<device>_<date>.json and .md into ``folder``; returns the path of the second."""
    about = machine(PACKAGES, settings["device"])
    facts = {**about, **settings, "device_name": about["device"]}
    kind = settings["device"].split(":")[0]
    content = {**facts, "solves": rows, "kernels": kernels}
    return save(folder / f"sdp_huge_{kind}_{facts['date'][:10]}.md", _markdown(facts, rows, kernels), content)


def _markdown(
    facts: dict[str, Any], rows: list[dict[str, Any]], kernels: list[dict[str, Any]]
) -> Iterable[str]:
    name = facts["device_name"]
    title = f"Huge sparse SDPs on {facts['device']}"
    yield from heading(title, facts, name, f"{facts['threads']} threads")
    yield (
        "MaxCut SDPs in float32: random graphs of mean degree 5, toroidal grids with weights -1 and +1. Seconds "
        "from the CSR arrays on the device to a certified relative gap, colouring included, at most "
        f"{facts['limit']:g} s a solve. "
        "Sweeps are passes over the graph, with the number of columns each was made at."
    )
    yield ""
    yield "| graph | n | gap wanted | reached | seconds | processor s | sweeps (rank: number) | peak GiB | status |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for row in rows:
        yield _solve_row(row)
    yield ""
    yield (
        f"Copy bandwidth, read and written: {facts['copy_bandwidth'] / 1e9:.3g} GB/s. A share is bytes of the "
        "formula in `solvers/torch_backend/sparse/over_relaxation.py` over time over that; gathers that miss the "
        "cache move more."
    )
    yield ""
    yield "| graph | n | colours | what | seconds | GB | share of copy bandwidth |"
    yield "|---|---|---|---|---|---|---|"
    for row in kernels:
        moved = f"{row['bytes'] / 1e9:.3g} | {row['share']:.0%}" if "bytes" in row else " | "
        about = f"{row['graph']} | {row['order']} | {row['colours']} | {row['what']}"
        yield f"| {about} | {row['seconds']:.3g} | {moved} |"


def _solve_row(row: dict[str, Any]) -> str:
    if "tol" not in row:
        return f"| {row['graph']} | {row['order']} | | | | | | | {row['status']} |"
    sweeps = ", ".join(f"{rank}: {count}" for rank, count in row["sweeps_by_rank"].items())
    numbers = f"{row['gap']:.1e} | {row['seconds']:.3g} | {row['processor_seconds']:.3g} | {sweeps}"
    memory = f"{row['peak_bytes'] / 2**30:.3g}"
    return f"| {row['graph']} | {row['order']} | {row['tol']:g} | {numbers} | {memory} | {row['status']} |"
