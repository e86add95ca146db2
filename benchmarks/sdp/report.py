"""The measurements as a Markdown table and as JSON, with the machine and the versions behind them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.record import heading, machine, number, save
from benchmarks.sdp.outcome import Outcome

PACKAGES = ("vispa-sdp", "numpy", "scipy", "numba", "cvxpy", "clarabel", "scs", "pymanopt")
OURS = "vispa"


@dataclass(frozen=True)
class Row:
    """All outcomes on one instance, and the reference that accuracies were judged by."""

    name: str
    order: int
    edges: int
    optimum: float
    reference_gap: float
    outcomes: tuple[Outcome, ...]

    def seconds(self, prefix: str) -> float | None:
        """Fastest processor time among the solvers whose name starts so."""
        found = [o.seconds for o in self.outcomes if o.solver.startswith(prefix) and o.seconds is not None]
        return min(found, default=None)

    def ours(self) -> float | None:
        """Our processor time with the estimated certificate."""
        return next((o.seconds for o in self.outcomes if o.solver == OURS), None)


def write(folder: Path, settings: dict[str, Any], rows: list[Row], first_call: dict[str, Any]) -> Path:
    """Write sdp_<date>.json and sdp_<date>.md into ``folder``; returns the path of the second."""
    facts = {**machine(PACKAGES), **settings}
    content = {
        **facts,
        "first_call": first_call,
        "ratios": ratios(rows),
        "instances": [asdict(r) for r in rows],
    }
    return save(folder / f"sdp_{facts['date'][:10]}.md", _markdown(facts, rows, first_call), content)


def ratios(rows: list[Row]) -> dict[str, dict[str, Any]]:
    """Our time over a peer's: geometric mean, worst, and on how many instances both finished."""
    found = {}
    for peer in _peers(rows):
        pairs = [(row.ours(), row.seconds(peer), row.name) for row in rows]
        quotients = [(mine / other, name) for mine, other, name in pairs if mine and other]
        if not quotients:
            continue
        worst, name = max(quotients)
        mean = math.exp(sum(math.log(quotient) for quotient, _ in quotients) / len(quotients))
        found[peer] = {"geometric_mean": mean, "worst": worst, "worst_on": name, "instances": len(quotients)}
    return found


def _peers(rows: list[Row]) -> list[str]:
    """Each solver, and each family whose fastest setting counts."""
    solvers = dict.fromkeys(o.solver for row in rows for o in row.outcomes if not o.solver.startswith(OURS))
    names: dict[str, None] = {}
    for solver in solvers:
        for family in ("mixing", "pymanopt"):
            if solver.startswith(family):
                names[family] = None
        names[solver] = None
    return list(names)


def _markdown(facts: dict[str, Any], rows: list[Row], first_call: dict[str, Any]) -> Iterable[str]:
    solvers = list(dict.fromkeys(o.solver for row in rows for o in row.outcomes))
    yield from heading("Unit-diagonal SDPs", facts, facts["processor"], f"{facts['cores']} cores")
    yield (
        f"Seconds of processor time on one thread, medians, without reading the file, to a relative gap of "
        f"{facts['tol']:g}; the mixing method certifies nothing, its time is that to a value as close to the "
        f"optimum. At most {facts['limit']:g} s a run. A dash: not reached; the reasons are below."
    )
    yield ""
    yield "| instance | N | edges | " + " | ".join(solvers) + " |"
    yield "|---|---|---|" + "---|" * len(solvers)
    for row in rows:
        by_solver = {o.solver: o for o in row.outcomes}
        cells = [_seconds(by_solver.get(solver)) for solver in solvers]
        yield f"| {row.name} | {row.order} | {row.edges} | " + " | ".join(cells) + " |"
    yield ""
    yield "## Our time over the peer's"
    yield ""
    yield "| peer | geometric mean | worst | on | instances |"
    yield "|---|---|---|---|---|"
    for peer, ratio in ratios(rows).items():
        numbers = f"{ratio['geometric_mean']:.3g} | {ratio['worst']:.3g} | {ratio['worst_on']}"
        yield f"| {peer} | {numbers} | {ratio['instances']} |"
    yield ""
    yield "## First call in a fresh process, seconds beyond the solve"
    yield ""
    for cache, seconds in first_call.items():
        yield f"- {cache} kernel cache: {seconds['processor']:.2f} processor, {seconds['wall']:.2f} wall-clock"
    yield ""
    yield "## Accuracy reached: gap by our certificate, and by dense eigenvalues"
    yield ""
    yield "| instance | solver | value | gap | dense gap | wall s | repeats | note |"
    yield "|---|---|---|---|---|---|---|---|"
    for row in rows:
        for o in row.outcomes:
            value = "" if o.value is None else f"{o.value:.9g}"
            numbers = f"{value} | {_gap(o.gap)} | {_gap(o.dense_gap)} | {number(o.wall)} | {o.repeats}"
            yield f"| {row.name} | {o.solver} | {numbers} | {o.note} |"


def _seconds(outcome: Outcome | None) -> str:
    return "" if outcome is None else number(outcome.seconds)


def _gap(value: float | None) -> str:
    return "" if value is None else f"{value:.1e}"
