"""The one way in which kernels are compiled and cached.

A cached function carries the machine code of every kernel that was inlined into it, so it is as old as the oldest
of their sources, not of its own: what is cached here is keyed on the sources of all kernels.  The cache lies beside
the sources, or in the user's cache directory where that cannot be written, or where the environment variable
``NUMBA_CACHE_DIR`` says.  Where none of these can be written, kernels are compiled in memory by every process anew.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import hashlib
import inspect
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache

OWN_FOLDER = Path(__file__).parent
UNWRITABLE = (
    "no directory can be written to keep compiled kernels in: every process compiles them anew, which takes "
    "seconds. Let the environment variable NUMBA_CACHE_DIR name a directory that can be written"
)


def kernel(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """A decorator that compiles a function on its first call, without the interpreter's lock, and caches it.

    Parameters
    ----------
    **options
        Passed on to `numba.njit`, such as ``fastmath=True`` or ``inline="always"``.

    Returns
    -------
    callable

    Notes
    -----
    Use it in modules of kernels alone: what they import must be NumPy, Numba, llvmlite or other kernels, either in
    `solvers.kernels` or beside them, because these are the sources that the cache is keyed on.

    Examples
    --------
    >>> @kernel(fastmath=True)
    ... def total(values):
    ...     sum = 0.0
    ...     for value in values:
    ...         sum += value
    ...     return sum
    """

    def decorate(function: Callable[..., Any]) -> Any:
        # no kernel is handed to C as a function: what would call it there takes a tenth of the time to compile
        compiled = numba.njit(error_model="numpy", nogil=True, no_cfunc_wrapper=True, **options)(function)
        compiled.compile = _uncollected(compiled.compile)
        try:
            compiled._cache = _KernelCache(function)
        except RuntimeError:
            # how Numba says that it found no place to write; a function typed at a prompt has none either
            if Path(inspect.getfile(function)).exists():
                _warn()
        return compiled

    return decorate


def _uncollected(compile_signature: Callable[..., Any]) -> Callable[..., Any]:
    """A compilation with the garbage collector at rest, which would go through its many objects over and over."""

    @functools.wraps(compile_signature)
    def compile_at_rest(signature: Any) -> Any:
        collects = gc.isenabled()
        gc.disable()
        try:
            return compile_signature(signature)
        finally:
            if collects:
                gc.enable()

    return compile_at_rest


@functools.cache
def _digest(folder: Path) -> bytes:
    """A digest of the sources of all kernels, and of those beside a kernel elsewhere."""
    digest = hashlib.sha256()
    for place in dict.fromkeys((OWN_FOLDER, folder)):
        for source in sorted(place.glob("*.py")):
            digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    return digest.digest()


@functools.cache
def _warn() -> None:
    """Once in a process."""
    warnings.warn(UNWRITABLE, RuntimeWarning, stacklevel=3)


def _keyed(locator: type) -> type:
    """A place for the cache, as Numba finds it, with a stamp of all kernels instead of one source."""

    class Keyed(locator):
        def get_source_stamp(self) -> tuple[Any, bytes]:
            return super().get_source_stamp(), _digest(Path(self._py_file).parent)

    return Keyed


class _KeyedPlaces(CompileResultCacheImpl):
    _locator_classes = tuple(_keyed(locator) for locator in CompileResultCacheImpl._locator_classes)


class _KernelCache(FunctionCache):
    """A cache whose failures cost time, never a result: a full disk, a file cut short, a folder that is gone."""

    _impl_class = _KeyedPlaces

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # whatever a damaged file makes of it, compiling is right
            with contextlib.suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError:
            _warn()
