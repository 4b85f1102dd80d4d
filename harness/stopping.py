"""Ctrl-C, SIGTERM and the end of the terminal: the first asks the run to end well, the second ends it.

After the first nothing new is started, and what is being written is finished or restored: the workers take no notice of
the signals, the controller starts no further device. After the second pytest ends at once; what was cut short is named.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

_SIGNALS = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "the end of its terminal"}


def leave_signals_to_controller() -> None:
    """On a worker: the terminal sends its signals to the whole process group, and a write must not be cut by them."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


class StopRequests:
    """On the controller, from `listen` to `restore`. `on_first` is called within the signal's handler."""

    def __init__(self, on_first: Callable[[str], None]) -> None:
        self._on_first = on_first
        self.asked = False
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
        if number == signal.SIGHUP:
            self._leave_terminal()
            if self.asked:  # the kernel and the shell both tell of it, and nobody has asked twice
                return
        elif self.asked:
            self.restore()
            raise KeyboardInterrupt
        self.asked = True
        self._on_first(_SIGNALS[signal.Signals(number)])

    def _leave_terminal(self) -> None:
        """From now on each write to it would fail, in the middle of whatever the run still has to do."""
        with Path(os.devnull).open("w") as nowhere:
            for stream in self._on_terminal:
                os.dup2(nowhere.fileno(), stream.fileno())
