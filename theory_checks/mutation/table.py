"""The table of mutants in the repository: what noticed each of them, and why survivors survive."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from theory_checks.mutation.verdicts import Kill

__all__ = ["RESULTS", "SURVIVORS", "Table", "explanations"]

RESULTS = Path(__file__).with_name("results.json")
SURVIVORS = Path(__file__).with_name("survivors.json")


@dataclass
class Table:
    """Kills by identifier of the mutant, None for a survivor, and one mutant a claim for a quick test."""

    kills: dict[str, Kill | None]
    sample: dict[str, str]

    @classmethod
    def read(cls, path: Path = RESULTS) -> Table:
        """Read a table that `write` wrote."""
        content = json.loads(path.read_text(encoding="utf-8"))
        kills = {name: None if kill is None else Kill(*kill) for name, kill in content["mutants"].items()}
        return cls(kills, content["sample"])

    def write(self, path: Path = RESULTS) -> None:
        """Write one mutant a line, in order, so that changes can be read."""
        lines = [f"    {json.dumps(name)}: {json.dumps(kill)}" for name, kill in sorted(self.kills.items())]
        sample = json.dumps(dict(sorted(self.sample.items())), indent=4)
        path.write_text(
            '{\n  "mutants": {\n' + ",\n".join(lines) + '\n  },\n  "sample": ' + sample + "\n}\n",
            encoding="utf-8",
        )

    @property
    def survivors(self) -> list[str]:
        """Identifiers of the mutants that no claim noticed."""
        return [name for name, kill in self.kills.items() if kill is None]

    def replace(self, subjects: Iterable[str], kills: dict[str, Kill | None]) -> None:
        """Put new rows in the place of all that some subjects had."""
        dropped = set(subjects)
        kept = {name: kill for name, kill in self.kills.items() if name.split(" | ")[0] not in dropped}
        self.kills = {**kept, **kills}


def explanations(path: Path = SURVIVORS) -> dict[str, str]:
    """Why each survivor is no fault of a claim: from identifier to reason."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return {name: content["reasons"][key] for key, names in content["survivors"].items() for name in names}
