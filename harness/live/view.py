"""Follows the journals of a run and has them shown. Whatever goes wrong here, the run goes on without it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import TextIO

from harness.journal import Event, Follower, Kind
from harness.live.lines import LinePainter
from harness.live.painter import Painter
from harness.live.screen import ScreenPainter
from harness.record import DeviceRecord, Outcome, fold

_POLL_S = 0.2
_STOP_S = 5.0
_UNSEEN = frozenset({Kind.LOG, Kind.CONSOLE})  # long, and not shown here


class LiveView:
    """Follows the journals of a run from `start` to `stop`. Neither raises, nor does anything in between."""

    def __init__(
        self,
        journals: Mapping[str, Path],
        total: int,
        out: TextIO,
        tty: bool,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._followed = {device_id: _Followed(device_id, path) for device_id, path in journals.items()}
        self._painter: Painter = ScreenPainter(total, out, clock) if tty else LinePainter(total, out)
        self._out = out
        self._said: SimpleQueue[str] = SimpleQueue()  # the queue whose put may interrupt itself
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="batch-flash live view", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Show what is still to be shown and give the terminal back."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(_STOP_S)

    def say(self, text: str) -> None:
        """Show a line about the run as a whole, soon; may be called in a signal's handler."""
        self._said.put(text)

    def _run(self) -> None:
        try:
            self._painter.open()
            try:
                while not self._stop.wait(_POLL_S):
                    self._look()
                self._look()
            finally:
                self._painter.close()
        except Exception as error:  # noqa: BLE001  (a thread's boundary: a closed terminal must not end a run)
            with suppress(OSError, ValueError):
                self._out.write(f"\nthe live view has stopped ({error!r}); the run goes on\n")

    def _look(self) -> None:
        for followed in self._followed.values():
            for event in followed.new_events():
                self._painter.changed(event, followed.record)
        while not self._said.empty():
            self._painter.say(self._said.get())
        self._painter.draw([f.record for f in self._followed.values() if f.record.outcome is Outcome.RUNNING])


class _Followed:
    """One device: its journal, and its record so far."""

    def __init__(self, device_id: str, path: Path) -> None:
        self.record = DeviceRecord(device_id, "", "")
        self._follower = Follower(path)

    def new_events(self) -> Iterator[Event]:
        """Each event that is to be shown, `record` as it is after it. An ended device's journal is not read again."""
        if self.record.outcome not in (Outcome.RUNNING, Outcome.NOT_RUN):
            return
        for event in self._follower.new_events():
            if event.kind not in _UNSEEN:
                self.record = fold(self.record, [event])
                yield event
