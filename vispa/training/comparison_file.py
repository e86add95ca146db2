"""The file of a comparison: read with all that is refused, and written whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from solvers import checks
from solvers.whole_file import write_whole

# What a record must have to be gone on from.
OF_A_TRIAL = {"settings", "validation"}
OF_A_RUN = {"settings", "test", "probabilities", "curve", "best"}
OF_A_DIVERGED_RUN = {"settings", "diverged"}


def checked_path(path: str | Path) -> Path:
    """Return where a comparison is kept, if a file can lie there.

    Raises
    ------
    ValueError
        If it is a folder, has no folder to lie in, or has the name of the tables.
    """
    path = checks.file_to_write("output", Path(path))
    if path.suffix == ".md":
        raise ValueError(
            f"output must not end in .md, where the tables go; found {path}: name it {path.stem}.json"
        )
    return path


def read_comparison(path: Path, fixed: dict[str, Any]) -> dict[str, Any]:
    """Return what a file holds of a comparison of these settings.

    Raises
    ------
    ValueError
        Naming the file, if it holds none, a damaged one, or one of other settings.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no comparison of this library: {error}") from error
    if not isinstance(found, dict) or not {"plan", "trials", "runs"} <= found.keys():
        raise ValueError(f"{path} is no comparison of this library; name another file")
    for kind, whole in (("trials", (OF_A_TRIAL,)), ("runs", (OF_A_RUN, OF_A_DIVERGED_RUN))):
        records = found[kind] if isinstance(found[kind], dict) else {kind: None}
        for name, record in records.items():
            if not isinstance(record, dict) or not any(fields <= record.keys() for fields in whole):
                raise ValueError(
                    f"{path} is damaged: its {name!r} is incomplete; take that out to have it done again"
                )
    if found["plan"] != fixed:
        raise ValueError(f"{path} holds a comparison of {found['plan']}, not of {fixed}: name another file")
    return found


def write_comparison(path: Path, found: dict[str, Any]) -> None:
    """Write the file: after a crash it holds the state before or this one."""
    write_whole(path, (json.dumps(found, indent=0, allow_nan=False) + "\n").encode())
