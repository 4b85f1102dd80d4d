"""Time limits that hold although a library hangs.

A limit is an interval timer whose signal raises in the main thread, where pytest and xdist's workers run their items:
a blocking read or sleep ends at once. Limits nest, the nearest one fires. Where not even a signal gets through (a call
that never returns to the interpreter), a watchdog of the C library's ends the process after a grace period: the run
then reports a dead worker, with the device and the phase that its journal names.

pytest-timeout is not used: it knows one limit per item, and what it raises is caught by `except Exception`.
"""

from __future__ import annotations

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


def _on_alarm(_signal: int, _frame: FrameType | None) -> None:
    nearest = _nearest()
    if nearest is not None and nearest.at <= time.monotonic():
        raise LimitReached(nearest)
