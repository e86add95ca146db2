"""Time `solve_shared` on layers of Gaussian weights, beside a loop over `low_rank`, and what `layer_signs` gains.

    python -m benchmarks.sdp.sdp_shared --output benchmarks/results
    python -m benchmarks.sdp.sdp_shared --device cuda --output benchmarks/results

Channel j asks for min |X (w - w_j / mean |w_j|)|^2 over signs w.  The kinds: `regular`, X Gaussian with 2 n
samples; `singular`, with n / 2; `decaying`, 2 n samples whose covariance has eigenvalues 1/1, 1/2, .. 1/n.  A few
channels are solved by `low_rank` too, on this host's processor and for a limited time, and their values compared.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch

from benchmarks.record import heading, machine, save
from benchmarks.sdp.device_options import device_options
from solvers.low_rank import low_rank
from solvers.problems.problem import BinaryQuadratic
from solvers.problems.solution import Status
from solvers.torch_backend.shared.layer_signs import layer_signs
from solvers.torch_backend.shared.solve_shared import solve_shared

TOLERANCE = 1e-4
# Order: channels.
GRIDS = {
    "cpu": {512: 32, 1024: 16, 2048: 4, 4096: 4},
    "cuda": {512: 64, 1024: 256, 2048: 256, 4096: 64, 8192: 64},
}
KINDS = ("regular", "singular", "decaying")
LOOPED = 1
LOOP_SECONDS = 40.0
# Above it the interior point method takes minutes a channel on a processor: these are given a limit.
LIMITED_ORDER = 2048
LIMIT_SECONDS = 120.0
LARGEST_LAYER = 512


@dataclass(frozen=True)
class Measured:
    """One layer; seconds are the processor's for a processor, wall-clock for a GPU."""

    order: int
    kind: str
    channels: int
    certified: int
    seconds: float
    wall: float
    sweeps: float
    worst_gap: float
    looped: int
    loop_certified: int
    loop_seconds: float
    difference: float | None
    layer_seconds: float | None
    layer_error: float | None
    naive_error: float | None
    layer_gap: float | None


def main(arguments: list[str] | None = None) -> int:
    """Measure the grid and write the report."""
    options = device_options(__doc__, arguments)
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    packages = ("vispa-sdp", "numpy", "scipy", "numba", "torch")
    facts = {**machine(packages, options.device), "threads": options.threads, "remark": options.remark}
    rows: list[Measured] = []
    table = options.output / f"sdp_shared_{facts['date'][:10]}_{device.type}.md"
    for order, channels in GRIDS[device.type].items():
        if options.orders and order not in options.orders:
            continue
        for kind in KINDS:
            rows.append(measure(order, channels, kind, device))
            print(rows[-1], file=sys.stderr)
            # written anew each time: what was measured survives an interruption
            content = {**facts, "rows": [asdict(row) for row in rows]}
            save(table, markdown(facts, rows), content)
    print(table)
    return 0


def layer(order: int, channels: int, kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    """X and the weights, float32, the same on every device."""
    generator = torch.Generator().manual_seed(order)
    samples = order // 2 if kind == "singular" else 2 * order
    inputs = torch.randn(samples, order, generator=generator)
    if kind == "decaying":
        basis = torch.linalg.qr(torch.randn(order, order, generator=generator)).Q
        inputs = (inputs * torch.arange(1, order + 1).rsqrt()) @ basis.mT
    return inputs, torch.randn(channels, order, generator=generator)


def measure(order: int, channels: int, kind: str, device: torch.device) -> Measured:
    """Solve all channels together, some of them one by one, and round those of the smaller layers."""
    inputs, weights = (tensor.to(device) for tensor in layer(order, channels, kind))
    # what is compiled or loaded on the way is not the solver's time
    solve_shared(torch.eye(8, device=device), torch.ones(2, 8, device=device))
    matrix = (inputs.double().mT @ inputs.double()).float()
    linear = -2.0 / weights.abs().mean(dim=1, keepdim=True) * (weights @ matrix)
    limit = LIMIT_SECONDS if order > LIMITED_ORDER and device.type == "cpu" else None
    solved, seconds, wall = timed(
        lambda: solve_shared(
            matrix,
            linear,
            tol=TOLERANCE,
            max_seconds=limit,
            generator=torch.Generator(device).manual_seed(0),
        ),
        device,
    )
    loop_seconds, loop_certified, differences = 0.0, 0, []
    for channel in range(min(LOOPED, channels)):
        problem = BinaryQuadratic(matrix.double().cpu().numpy(), linear[channel].double().cpu().numpy())
        alone, taken, _ = timed(
            lambda problem=problem: low_rank(problem, tol=TOLERANCE, rng=0, max_seconds=LOOP_SECONDS),
            torch.device("cpu"),
        )
        loop_seconds += taken
        loop_certified += alone.status is Status.CERTIFIED
        if alone.status is Status.CERTIFIED and bool(solved.certified[channel]):
            differences.append(abs(alone.value - float(solved.value[channel])) / abs(alone.value))
    return Measured(
        order=order,
        kind=kind,
        channels=channels,
        certified=int(solved.certified.sum()),
        seconds=seconds,
        wall=wall,
        sweeps=float(solved.iterations.double().mean()),
        worst_gap=float(solved.gap.max()),
        looped=min(LOOPED, channels),
        loop_certified=loop_certified,
        loop_seconds=loop_seconds,
        difference=max(differences, default=None),
        **rounded(inputs, weights),
    )


def rounded(inputs: torch.Tensor, weights: torch.Tensor) -> dict[str, float | None]:
    """What `layer_signs` makes of the layer, relative to |X w_j|^2, beside mean |w| sgn(w)."""
    if weights.shape[1] > LARGEST_LAYER:
        return dict.fromkeys(("layer_seconds", "layer_error", "naive_error", "layer_gap"))
    generator = torch.Generator(weights.device).manual_seed(0)
    chosen, seconds, _ = timed(
        lambda: layer_signs(weights, inputs=inputs, tol=1e-3, generator=generator), weights.device
    )
    exact = weights.double() @ inputs.double().mT
    energy = exact.square().sum(dim=1)
    plain = (weights.abs().mean(dim=1, keepdim=True) * torch.where(weights >= 0, 1.0, -1.0)).double()
    naive = (plain @ inputs.double().mT - exact).square().sum(dim=1)
    return {
        "layer_seconds": seconds,
        "layer_error": float((chosen.error / energy).mean()),
        "naive_error": float((naive / energy).mean()),
        "layer_gap": float(chosen.gap.mean()),
    }


def timed(call: Any, device: torch.device) -> tuple[Any, float, float]:
    """The result; seconds of the processor, or on the clock for a GPU; seconds on the clock."""
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.synchronize(device)
    processor, wall = time.process_time(), time.perf_counter()
    result = call()
    if on_gpu:
        torch.cuda.synchronize(device)
    processor, wall = time.process_time() - processor, time.perf_counter() - wall
    return result, wall if on_gpu else processor, wall


def markdown(facts: dict[str, Any], rows: Iterable[Measured]) -> Iterable[str]:
    """The table, with what it was measured on and by what its columns are meant."""
    host = f"host {facts['processor']}, {facts['cores']} cores, {facts['threads']} thread(s)"
    yield from heading("Layers of unit-diagonal SDPs that share a matrix", facts, facts["device"], host)
    yield (
        f"Relative gap {TOLERANCE:g}, inputs and weights in float32. Seconds a channel: of the processor, or on "
        f"the clock for a GPU. `low_rank` solves {LOOPED} of the channels alone, each for at most "
        f"{LOOP_SECONDS:g} s: where it was not certified in time the ratio is a lower bound. Above order "
        f"{LIMITED_ORDER} a processor has {LIMIT_SECONDS:g} s for all channels. Errors are those of `layer_signs` "
        "and of mean |w| sgn(w), relative to |X w|^2, and so is the proved gap of the first."
    )
    yield ""
    yield (
        "| n | kind | channels | certified | worst gap | sweeps | s a channel | `low_rank` s a channel | x | "
        "values differ by | layer_signs s | its error | sgn's | its gap |"
    )
    yield "|" + "---|" * 14
    for row in rows:
        yield "| " + " | ".join(cells(row)) + " |"


def cells(row: Measured) -> list[str]:
    """One line of the table."""
    each, alone = row.seconds / row.channels, row.loop_seconds / row.looped
    more = "" if row.loop_certified == row.looped else "> "
    ratio = f"{more}{alone / each:.3g}" if row.certified == row.channels else "—"
    numbers = (row.layer_seconds, row.layer_error, row.naive_error, row.layer_gap)
    return [
        str(row.order),
        row.kind,
        str(row.channels),
        str(row.certified),
        f"{row.worst_gap:.1e}",
        f"{row.sweeps:.0f}",
        f"{each:.3g}",
        f"{more}{alone:.3g}",
        ratio,
        "—" if row.difference is None else f"{row.difference:.1e}",
        *("—" if value is None else f"{value:.3g}" for value in numbers),
    ]


if __name__ == "__main__":
    sys.exit(main())
