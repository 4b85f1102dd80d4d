"""Time limits that hold although a library hangs.

A limit is an interval timer whose signal raises in the main thread, where pytest and xdist's workers run their items:
a blocking read or sleep ends at once. Limits nest, the nearest one fires. Where not even a signal gets through (a call
that never returns to the interpreter), a watchdog of the C library's ends the process after a grace period: the run
then reports a dead worker, with the device and the phase that its journal names.

pytest-timeout is not used: it knows one limit per item, and what it raises is caught by `except Exception`.
"""

from __future__ import annotations

import contextlib
import faulthandler
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from drivers.base import PhaseTimeout

GRACE_S = 30.0
"""Seconds after a limit at which the process is ended when the signal had no effect."""

_STDERR = 2  # the file descriptor: pytest replaces the objects
_REPEAT_S = 5.0  # a library that swallowed the exception once gets it again
_AGAIN_S = 0.001


class LimitReached(BaseException):
    """On its way to the limit that set it. Not an `Exception`: libraries catch those (esptool's hard_reset does)."""

    def __init__(self, limit: _Limit) -> None:
        super().__init__(limit.what)
        self.limit = limit

    def as_timeout(self) -> PhaseTimeout:
        return PhaseTimeout(f"{self.limit.what} took longer than {self.limit.seconds:g} s")


@dataclass(eq=False)
class _Limit:
    at: float  # time.monotonic()
    what: str
    seconds: float


_limits: list[_Limit] = []  # the stack of this process's main thread, outermost first; SIGALRM is per process too


@contextmanager
def limit(seconds: float, what: str) -> Iterator[None]:
    """Raise `PhaseTimeout` ("`what` took longer than … s") when the block has not ended after so many seconds.

    Main thread only. An outer limit that is reached first raises where it was set.
    """
    over = _what_is_over()
    if over is not None:  # blocks that end at once, one after the other, give the alarm no moment
        raise _reached(over)
    mine = _Limit(time.monotonic() + seconds, what, seconds)
    _limits.append(mine)
    previous = signal.signal(signal.SIGALRM, _on_alarm)
    _arm()
    try:
        yield
    except LimitReached as reached:
        if reached.limit is not mine:
            raise
        raise reached.as_timeout() from reached
    finally:
        _limits.remove(mine)
        _arm()
        if not _limits:
            signal.signal(signal.SIGALRM, previous)


def _nearest() -> _Limit | None:
    return min(_limits, key=lambda limit: limit.at, default=None)


def _arm() -> None:
    nearest = _nearest()
    if nearest is None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        faulthandler.cancel_dump_traceback_later()
        return
    left_s = max(nearest.at - time.monotonic(), 0.001)
    signal.setitimer(signal.ITIMER_REAL, left_s, _REPEAT_S)
    faulthandler.dump_traceback_later(left_s + GRACE_S, exit=True, file=_STDERR)


def _what_is_over() -> _Limit | None:
    nearest = _nearest()
    return nearest if nearest is not None and nearest.at <= time.monotonic() else None


def _reached(over: _Limit) -> LimitReached:
    """What is done on its way up (a phase's end in the journal) is not cut short by the same limit at once."""
    over.at = time.monotonic() + _REPEAT_S
    return LimitReached(over)


def _on_alarm(_signal: int, frame: FrameType | None) -> None:
    over = _what_is_over()
    if over is None:
        return
    if frame is None or not _comes_or_goes(frame):
        raise _reached(over)
    signal.setitimer(signal.ITIMER_REAL, _AGAIN_S, _REPEAT_S)


def _comes_or_goes(frame: FrameType) -> bool:
    """Whether a limit is being set or taken away just now.

    An outer one that was raised there would leave the inner one behind, to hit another board's item seconds later.
    While a block runs, no code of this module does: the generator of `limit` stands still.
    """
    if frame.f_globals is vars(contextlib):  # a phase, which has its limit inside
        return True
    caller: FrameType | None = frame
    while caller is not None and caller.f_globals is not globals():
        caller = caller.f_back
    return caller is not None
