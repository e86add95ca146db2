"""What every report needs: the machine and versions behind it, and a Markdown file beside a JSON one."""

from __future__ import annotations

import datetime
import json
import os
import platform
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("vispa-sdp", "numpy", "scipy", "numba")


def machine(packages: Iterable[str] = PACKAGES, device: str = "cpu") -> dict[str, Any]:
    """Date, processor, device, number of cores, system, and versions of everything measured."""
    name = processor()
    if device.startswith("cuda"):
        import torch

        name = torch.cuda.get_device_name(device)
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "processor": processor(),
        "device": name,
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "versions": {package: _version(package) for package in packages},
    }


def processor() -> str:
    """The processor's name, where Linux tells it."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.is_file() else []
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def save(table: Path, lines: Iterable[str], content: dict[str, Any]) -> Path:
    """Write the lines to ``table``, a Markdown file, and the content to a JSON file beside it; return the table."""
    table.parent.mkdir(parents=True, exist_ok=True)
    table.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n")
    table.write_text("\n".join(lines) + "\n")
    return table


def heading(title: str, facts: dict[str, Any], *about: str) -> list[str]:
    """The first lines of a report: its title with the date, and what it was measured on."""
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    where = ", ".join((*about, facts["system"]))
    return [
        f"# {title}, {facts['date'][:10]}",
        "",
        f"{where}; {versions}. {facts.get('remark', '')}".strip(),
        "",
    ]


def number(value: float | None, unit: str = "") -> str:
    """Three digits, or a dash."""
    return "—" if value is None else f"{value:.3g}{unit}"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed as a package"
