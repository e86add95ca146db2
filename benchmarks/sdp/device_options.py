"""What the benchmarks of batches and of layers are asked on the command line."""

from __future__ import annotations

import argparse
from pathlib import Path


def device_options(description: str | None, arguments: list[str] | None) -> argparse.Namespace:
    """Device, threads, orders, output and remark."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default %(default)s)")
    parser.add_argument("--output", type=Path, required=True, help="folder for the table and the JSON")
    parser.add_argument("--threads", type=int, default=1, help="on the processor (default %(default)s)")
    parser.add_argument("--orders", type=int, nargs="*", help="some of the grid's orders")
    parser.add_argument("--remark", default="", help="a sentence for the report")
    return parser.parse_args(arguments)
