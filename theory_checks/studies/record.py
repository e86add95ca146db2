"""What a study leaves behind: numbers with the date, the machine and the versions that made them."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("vispa-sdp", "numpy", "scipy", "torch")


def parser(description: str, *, repeats: int) -> argparse.ArgumentParser:
    """Options that all studies share."""
    result = argparse.ArgumentParser(description=description)
    result.add_argument("--output", type=Path, required=True, metavar="DIR", help="where the files go")
    result.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the study (default: 0)")
    result.add_argument(
        "--repeats",
        type=int,
        default=repeats,
        metavar="N",
        help=f"random instances a cell (default: {repeats})",
    )
    return result


def provenance() -> dict[str, Any]:
    """Date, machine and versions."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}",
        "versions": {package: metadata.version(package) for package in PACKAGES},
    }


def write(folder: Path, name: str, content: dict[str, Any], markdown: Sequence[str]) -> Path:
    """Write ``name``_<date>.json and .md; returns the stem that they share, for a plot beside them.

    Raises
    ------
    OSError
        If the folder cannot be made or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / f"{name}_{content['date'][:10]}"
    stem.with_suffix(".json").write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    stem.with_suffix(".md").write_text("\n".join(markdown) + "\n")
    return stem


def footer(content: dict[str, Any], command: str) -> str:
    """One line of Markdown: how to make these numbers again."""
    versions = ", ".join(f"{name} {version}" for name, version in content["versions"].items())
    return f"{content['date'][:10]}; {content['machine']}; {versions}; `{command}`, seed {content['seed']}."


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table, the first column left and the others right.

    Examples
    --------
    >>> table(["n", "share"], [["8", "0.17"]])
    ['| n | share |', '|---|---:|', '| 8 | 0.17 |']
    """
    lines = ["| " + " | ".join(header) + " |", "|---|" + "---:|" * (len(header) - 1)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]
