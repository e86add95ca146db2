"""Which claim notices a mutant, and which claims could: those whose experiment runs the broken function."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any, NamedTuple

from theory_checks.claim import Claim, Outcome, Verdict
from theory_checks.mutation.mutants import Mutant, function_at, installed
from theory_checks.registry import CLAIMS
from theory_checks.runner import run

__all__ = ["Kill", "Use", "examine", "uses", "verdict_of"]

# A broken formula can make a solver wander: an experiment that takes so long has noticed.
PATIENCE_SECONDS = 60


class Kill(NamedTuple):
    """The claim that noticed, and how: "measured" a number off its bound, or "broke down" on an error."""

    claim: str
    how: str


class Use(NamedTuple):
    """Subjects that a claim's experiment runs, and the processor time that it took unbroken."""

    subjects: frozenset[str]
    seconds: float


def uses(subjects: Iterable[str], claims: Iterable[Claim] = tuple(CLAIMS.values())) -> dict[str, Use]:
    """Run every claim once and note which subjects it calls."""
    codes = {function_at(subject).__code__: subject for subject in subjects}
    found = {}
    for claim in claims:
        began = time.process_time()
        with _calls(codes) as called:
            run([claim.identifier], seed=0)
        found[claim.identifier] = Use(frozenset(codes[code] for code in called), time.process_time() - began)
    return found


def examine(mutant: Mutant, claims: Iterable[str]) -> Kill | None:
    """Return the first claim that notices by a measured number, else the first that breaks down, else None."""
    broke_down = None
    for identifier in claims:
        how = verdict_of(mutant, identifier)
        if how == "measured":
            return Kill(identifier, how)
        if how and broke_down is None:
            broke_down = Kill(identifier, how)
    return broke_down


def verdict_of(mutant: Mutant, identifier: str) -> str:
    """How one claim notices the mutant: "measured", "broke down", or "" where it does not."""
    with installed(mutant), _patience():
        (outcome,) = run([identifier], seed=0).outcomes
    return _how(outcome)


def _how(outcome: Outcome) -> str:
    if outcome.verdict is Verdict.HOLDS:
        return ""
    return "broke down" if outcome.error else "measured"


@contextmanager
def _calls(codes: dict[CodeType, str]) -> Iterator[set[CodeType]]:
    called: set[CodeType] = set()

    def notice(frame: FrameType, event: str, _argument: Any) -> None:
        if event == "call" and frame.f_code in codes:
            called.add(frame.f_code)

    before = sys.getprofile()
    sys.setprofile(notice)
    try:
        yield called
    finally:
        sys.setprofile(before)


@contextmanager
def _patience() -> Iterator[None]:
    """Raise TimeoutError in the experiment after `PATIENCE_SECONDS`, where signals can be had."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def give_up(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"the experiment took more than {PATIENCE_SECONDS} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
