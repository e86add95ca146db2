"""Time a whole training step of a binarized ResNet-18 beside the same network with a plain STE weight.

    python -m benchmarks.networks.training --output benchmarks/results
    python -m benchmarks.networks.training --output benchmarks/results --device cuda --batch 256 --rank 8

A step is forward, backward, SGD with momentum and, where the method has one, the projection. All variants run in
turn, round after round; a ratio is the median over the rounds of a variant's time over the STE weight's in the
same round. On a CPU: one thread and its processor time. On a GPU: events around several steps.

``--published FILE`` measures the published layer too, from the file that defines its BinarizeConv2dSDP.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def main(arguments: list[str] | None = None) -> int:
    """Measure, write the table, and print where it is."""
    options = parse(arguments)
    # libraries read these when they are first imported
    os.environ.update(dict.fromkeys(THREADS, "1"))
    import torch

    torch.set_num_threads(1)
    from benchmarks.networks.training_clock import measure
    from benchmarks.networks.training_report import Measurement, write
    from benchmarks.networks.training_traffic import bandwidth, floor_bytes
    from benchmarks.networks.training_variants import build_variants, count_binary_weights

    device = torch.device(options.device)
    weights = count_binary_weights(options.network, options.width)
    settings = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "one CPU thread",
        "network": options.network,
        "width": options.width,
        "binary_weights": weights,
        "rounds": options.rounds,
        "remark": options.remark,
    }
    measurements = []
    for batch in options.batch:
        variants = build_variants(
            options.network,
            batch=batch,
            ranks=options.rank,
            device=device,
            width=options.width,
            published=options.published,
        )
        seconds = measure(variants, rounds=options.rounds, device=device)
        floors = {
            rank: floor_bytes(weights, rank) / bandwidth(device, 4 * weights * rank) for rank in options.rank
        }
        measurements.append(Measurement(batch, {v.name: v.rank for v in variants}, seconds, floors))
        # written anew each time: what was measured survives an interruption
        table = write(options.output, settings, measurements)
    print(table)
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for the table and the JSON")
    parser.add_argument("--device", default="cpu", help="cpu (the default) or cuda")
    parser.add_argument(
        "--batch", type=int, nargs="+", default=[32, 128], help="batch sizes (default 32 128)"
    )
    parser.add_argument("--rank", type=int, nargs="+", default=[4, 8], help="ranks K (default 4 8)")
    parser.add_argument("--rounds", type=int, default=11, help="rounds through all variants (default 11)")
    parser.add_argument(
        "--network", default="resnet18-1w1a", help="a name of vispa.networks (default %(default)s)"
    )
    parser.add_argument("--width", type=int, help="unit of its numbers of channels, if not the paper's")
    parser.add_argument("--published", type=Path, help="file that defines the published layer")
    parser.add_argument("--remark", default="", help="a sentence for the report")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
