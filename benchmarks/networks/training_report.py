"""The ratios as a Markdown table and as JSON, with the floor under them and the machine behind them."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.networks.training_traffic import PASSES
from benchmarks.networks.training_variants import PLAIN_STE
from benchmarks.record import heading, machine, save


@dataclass(frozen=True)
class Measurement:
    """Seconds of every variant in every round at one batch size, and the floors by rank."""

    batch: int
    ranks: Mapping[str, int]
    seconds: Mapping[str, list[float]]
    floors: Mapping[int, float]

    def ratios(self, name: str) -> list[float]:
        """Time over the STE weight's, round by round."""
        return [mine / ste for mine, ste in zip(self.seconds[name], self.seconds[PLAIN_STE], strict=True)]

    def extra(self, name: str) -> float:
        """Median of the seconds beyond the STE weight's."""
        pairs = zip(self.seconds[name], self.seconds[PLAIN_STE], strict=True)
        return statistics.median(mine - ste for mine, ste in pairs)

    def row(self, name: str) -> dict[str, Any]:
        """Everything about one variant."""
        ratios = sorted(self.ratios(name))
        floor = self.floors.get(self.ranks[name])
        ste = statistics.median(self.seconds[PLAIN_STE])
        return {
            "batch": self.batch,
            "variant": name,
            "rank": self.ranks[name],
            "seconds": statistics.median(self.seconds[name]),
            "ratio": statistics.median(ratios),
            "fastest_ratio": min(self.seconds[name]) / min(self.seconds[PLAIN_STE]),
            "quartiles": [ratios[len(ratios) // 4], ratios[(3 * len(ratios)) // 4]],
            "extra_seconds": self.extra(name),
            "floor_seconds": floor,
            "floor_ratio": None if floor is None else 1 + floor / ste,
            "all_seconds": self.seconds[name],
        }


def write(folder: Path, settings: dict[str, Any], measurements: list[Measurement]) -> Path:
    """Write training_<device>_<date>.json and .md into ``folder``; returns the path of the second."""
    facts = {**machine(("vispa-sdp", "torch", "numpy")), **settings}
    rows = [found.row(name) for found in measurements for name in found.seconds]
    kind = "cpu" if "CPU" in facts["device"] else "gpu"
    table = folder / f"training_{kind}_{facts['date'][:10]}.md"
    return save(table, _markdown(facts, rows), {**facts, "rows": rows})


def _markdown(facts: dict[str, Any], rows: list[dict[str, Any]]) -> Iterable[str]:
    where = f"{facts['device']} of {facts['processor']}"
    yield from heading(f"A training step of {facts['network']}", facts, where)
    yield (
        f"Forward, backward, SGD with momentum 0.9 and projection, {facts['binary_weights']:,} binary weights, "
        f"medians over {facts['rounds']} rounds, in each of which every variant ran once. The ratio is to the "
        "plain STE weight in the same round, with quartiles; the next column compares the fastest steps, which "
        "other work on the machine disturbs least. SGD is fused unless it says default. The floor "
        f"is what memory needs to move each entry of the factor {PASSES} times at the bandwidth measured in the "
        "same run; the last column is the measured excess over the STE weight as a multiple of it."
    )
    yield ""
    yield "| batch | variant | seconds | ratio | quartiles | fastest | floor | excess / floor |"
    yield "|---|---|---|---|---|---|---|---|"
    for row in rows:
        low, high = row["quartiles"]
        floor, multiple = "", ""
        if row["floor_ratio"] is not None:
            floor = f"{row['floor_ratio']:.3f}"
            multiple = f"{row['extra_seconds'] / row['floor_seconds']:.2f}"
        yield (
            f"| {row['batch']} | {row['variant']} | {row['seconds']:.3g} | {row['ratio']:.3f} "
            f"| {low:.3f} - {high:.3f} | {row['fastest_ratio']:.3f} | {floor} | {multiple} |"
        )
