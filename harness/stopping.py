"""Ctrl-C, SIGTERM and the end of the terminal: the first asks the run to end well, a second Ctrl-C or SIGTERM ends it.

After the first nothing new is started, and what is being written is finished or restored: the workers take no notice of
the signals, the controller starts no further device. After the second pytest ends at once; what was cut short is named.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

_SIGNALS = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "the end of its terminal"}


def leave_signals_to_controller() -> None:
    """On a worker: the terminal sends its signals to the whole process group, and a write must not be cut by them."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


@contextmanager
def held_back() -> Iterator[None]:
    """Signals that come meanwhile wait for the end of the block.

    On the controller, around the start of workers: one would die of them before it can leave them to the controller,
    and pytest of that by an internal error, without a report. What is blocked here is so in the processes started.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class StopRequests:
    """On the controller, from `listen` to `restore`. `on_first` is called within the signal's handler."""

    def __init__(self, on_first: Callable[[str], None]) -> None:
        self._on_first = on_first
        self.asked = False
        self._ordered = False
        self._before = {number: signal.getsignal(number) for number in _SIGNALS}
        self._on_terminal = [fd for fd in (sys.__stdout__, sys.__stderr__) if fd is not None and fd.isatty()]

    def listen(self) -> None:
        for number, before in self._before.items():
            if before is not signal.SIG_IGN:  # a shell starts what runs behind `&` with SIGINT ignored; that is to stay
                signal.signal(number, self._handle)

    def restore(self) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        """The end of the terminal is neither a second order nor one that another could be the second to: who closes it
        after a Ctrl-C has asked once, the end of a login session is SIGTERM and SIGHUP, and of two signals that came
        while this process stood still, Python tells SIGHUP first.
        """
        if number == signal.SIGHUP:
            self._leave_terminal()
        elif self._ordered:
            self.restore()
            raise KeyboardInterrupt
        else:
            self._ordered = True
        if not self.asked:
            self.asked = True
            self._on_first(_SIGNALS[signal.Signals(number)])

    def _leave_terminal(self) -> None:
        """From now on each write to it would fail, in the middle of whatever the run still has to do."""
        with Path(os.devnull).open("w") as nowhere:
            for stream in self._on_terminal:
                os.dup2(nowhere.fileno(), stream.fileno())
