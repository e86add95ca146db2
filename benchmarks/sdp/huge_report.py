"""The measurements on huge graphs as Markdown tables and as JSON, with device and versions."""

from __future__ import annotations

import datetime
import json
import platform
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from benchmarks.sdp.report import _processor

PACKAGES = ("vispa-sdp", "torch", "triton", "numpy", "scipy")
PUBLISHED = (
    "For comparison, and on another machine by another rule: cuLoRADS (arXiv 2407.15049, July 2024) reports MaxCut "
    "SDPs of 10^7 vertices in 10 s to 1 min on one H100, to DIMACS errors, whose dual part is divided by "
    "1 + |C|_1; the gaps here are (value - bound) / |value| with a bound 1^T y at C - Diag(y) PSD."
)


def write(
    folder: Path, settings: dict[str, Any], rows: list[dict[str, Any]], kernels: list[dict[str, Any]]
) -> Path:
    """Write sdp_huge_<device>_<date>.json and .md into ``folder``; returns the path of the second."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = {**_machine(settings["device"]), **settings}
    stem = folder / f"sdp_huge_{torch.device(settings['device']).type}_{facts['date'][:10]}"
    content = {**facts, "solves": rows, "kernels": kernels}
    stem.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n")
    table = stem.with_suffix(".md")
    table.write_text("\n".join(_markdown(facts, rows, kernels)) + "\n")
    return table


def _machine(device: str) -> dict[str, Any]:
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed as a package"
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else _processor()
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "processor": name,
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "versions": versions,
    }


def _markdown(
    facts: dict[str, Any], rows: list[dict[str, Any]], kernels: list[dict[str, Any]]
) -> Iterable[str]:
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    yield f"# Huge sparse SDPs on {facts['device']}, {facts['date'][:10]}"
    yield ""
    machine = f"{facts['processor']}, {facts['threads']} threads, {facts['system']}"
    yield f"{machine}; {versions}. {facts['remark']}".strip()
    yield ""
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
    yield PUBLISHED
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
