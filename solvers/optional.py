"""Packages that are imported when they are used, and named with their extra where they are missing."""

from __future__ import annotations

import importlib.util
import sys


def require(package: str, extra: str, what: str) -> None:
    """Refuse, in words, where a package is not installed.

    Raises
    ------
    ImportError
        Naming the package, what needs it, and the extra that brings it.

    Examples
    --------
    >>> require("no_such_package", "exact", "the exact relaxation")
    Traceback (most recent call last):
        ...
    ImportError: the exact relaxation needs no_such_package: pip install 'vispa-sdp[exact]'
    """
    # None marks what must not be imported; asking for its specification would raise.
    blocked = package in sys.modules and sys.modules[package] is None
    if blocked or importlib.util.find_spec(package) is None:
        raise ImportError(f"{what} needs {package}: pip install 'vispa-sdp[{extra}]'")
