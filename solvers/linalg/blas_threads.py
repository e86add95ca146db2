"""One thread for the linear algebra library, where matrices are too small to share."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any


def one_blas_thread() -> AbstractContextManager[Any]:
    """A limit of one BLAS thread in this process, from the call to the end of the context, if it is entered.

    Threads that wait for each other over a matrix of a hundred rows are slower than one, and on a busy machine
    many times so.  Without threadpoolctl, which scikit-learn brings along, nothing is limited.
    """
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        return nullcontext()
    limits: AbstractContextManager[Any] = threadpool_limits(1, user_api="blas")
    return limits


def limit_blas_threads() -> None:
    """Limit BLAS to one thread for good: what worker processes begin with."""
    one_blas_thread()
