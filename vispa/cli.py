"""The command line: `vispa solve | train | compare | deploy | check`."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from numpy.linalg import LinAlgError

from vispa import __version__

COMMANDS = {
    "solve": "certify the SDP relaxation of a graph, a quadratic form or an SDP in a file, and round it",
    "train": "train binary networks and compare methods over paired seeds",
    "compare": "compare training methods, each tuned alike, over paired seeds, in one resumable file",
    "deploy": "pack a network to one bit a weight, and time it beside float32",
    "check": "run the theory checks: every claim beside its measured error",
}


def build_parser(only: str | None = None) -> argparse.ArgumentParser:
    """The parser with one subparser a command; with ``only``, that command alone gets its arguments."""
    parser = argparse.ArgumentParser(
        prog="vispa", description="Train and certify binary-weight models: Gaussian VI and low-rank SDP."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=summary, description=summary)
        # `train` needs torch to name its models, and `solve` must not wait for torch.
        if only in (None, name):
            importlib.import_module(f"vispa.commands.{name}").add_arguments(subparser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 2 for bad input, 130 when interrupted, otherwise the command's own exit status."""
    words = sys.argv[1:] if argv is None else list(argv)
    arguments = build_parser(next((word for word in words if word in COMMANDS), None)).parse_args(words)
    command = importlib.import_module(f"vispa.commands.{arguments.command}")
    try:
        return int(command.run(arguments))
    except LinAlgError:
        raise  # a ValueError to NumPy, but the fault is ours: the traceback is wanted
    except (ValueError, TypeError, OSError, ImportError) as error:
        print(f"vispa {arguments.command}: {error}", file=sys.stderr)
        return 2
    except MemoryError as error:
        reason = str(error) or "the system gave no more"
        print(f"vispa {arguments.command}: not enough memory ({reason})", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"vispa {arguments.command}: interrupted", file=sys.stderr)
        return 130
