"""What ``verbose=True`` shows: the records of a solve, on standard error."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def shown(verbose: bool) -> Iterator[None]:
    """Show what `solvers` logs while the block runs; nothing is changed where ``verbose`` is False."""
    if not verbose:
        yield
        return
    logger, handler = logging.getLogger("solvers"), logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
