"""Ctrl-C and SIGTERM: the first asks the run to end well, the second ends it.

After the first nothing new is started, and what is being written is finished or restored: the workers take no notice of
the signals, the controller starts no further device. After the second pytest ends at once; what was cut short is named.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType

_SIGNALS = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


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

    def listen(self) -> None:
        for number, before in self._before.items():
            if before is not signal.SIG_IGN:  # a shell starts what runs behind `&` with SIGINT ignored; that is to stay
                signal.signal(number, self._handle)

    def restore(self) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.asked:
            self.restore()
            raise KeyboardInterrupt
        self.asked = True
        self._on_first(_SIGNALS[signal.Signals(number)])
