"""What this processor can do, and what the system allows it to do for this process."""

from __future__ import annotations

import ctypes
import functools
import platform
import sys

__all__ = ["has", "may_use_tiles"]

# arch_prctl of Linux on x86-64, its request for a component of the processor's state, and that of tiles' data.
ARCH_PRCTL, REQUEST_PERMISSION, TILE_DATA = 158, 0x1023, 18


@functools.cache
def _features() -> dict[str, bool]:
    from llvmlite import binding

    return {name: bool(found) for name, found in binding.get_host_cpu_features().items()}


def has(*features: str) -> bool:
    """Whether this processor has all instructions of these names, which are LLVM's."""
    return all(_features().get(name, False) for name in features)


@functools.cache
def may_use_tiles() -> bool:
    """Whether this processor has tiles of bytes (AMX), and the system lets this process use them.

    Linux gives 8 KB more for the state of a thread to processes that ask for it. All threads may use tiles then,
    and processes that are forked from this one. Old systems, and some containers, refuse.
    """
    needed = ("amx-tile", "amx-int8", "gfni", "avx512bw", "avx512vbmi", "avx512vpopcntdq")
    return has(*needed) and _permitted()


def _permitted() -> bool:
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    try:
        system = ctypes.CDLL(None).syscall
    except (OSError, AttributeError):
        return False
    request = (ctypes.c_long(number) for number in (ARCH_PRCTL, REQUEST_PERMISSION, TILE_DATA))
    return int(system(*request)) == 0
