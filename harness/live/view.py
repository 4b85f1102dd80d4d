"""Follows the journals of a run and has them shown. Whatever goes wrong here, the run goes on without it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from itertools import cycle, islice
from operator import itemgetter
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
_AT_ONCE = 100
"""So many devices that are not worked on are looked at each time: five hundred take a second, and no file is opened."""
_UNSEEN = frozenset({Kind.LOG, Kind.CONSOLE})  # long, and not shown here

_Moment = tuple[float, Callable[[], None]]
"""When something happened, and how it is shown."""


class LiveView:
    """Follows the journals of a run from `start` to `stop`. Neither raises, nor does anything in between."""

    def __init__(
        self,
        journals: Mapping[str, Path],
        total: int,
        out: TextIO,
        tty: bool,
        clock: Callable[[], float] = time.time,
        since: float = 0.0,
    ) -> None:
        """`since`: what happened before that moment, in seconds since the epoch, was shown when the run began."""
        self._followed = [_Followed(device_id, path) for device_id, path in journals.items()]
        self._in_turn = cycle(self._followed)
        self._since = since
        self._clock = clock
        self._painter: Painter = ScreenPainter(total, out, clock) if tty else LinePainter(total, out)
        self._out = out
        self._said: SimpleQueue[tuple[float, str]] = SimpleQueue()  # the queue whose put may interrupt itself
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
        self._said.put((self._clock(), text))

    def _run(self) -> None:
        try:
            self._painter.open()
            try:
                while not self._stop.wait(_POLL_S):
                    self._look(self._due())
                self._look(self._followed)
            finally:
                self._painter.close()
        except Exception as error:  # noqa: BLE001  (a thread's boundary: a closed terminal must not end a run)
            with suppress(OSError, ValueError):
                self._out.write(f"\nthe live view has stopped ({error!r}); the run goes on\n")

    def _due(self) -> Iterable[_Followed]:
        """All that are worked on, and some of the others: they may have been begun, be it once more."""
        others = islice(self._in_turn, min(_AT_ONCE, len(self._followed)))
        return [*filter(_Followed.is_active, self._followed), *others]

    def _look(self, due: Iterable[_Followed]) -> None:
        happened = [*self._what_was_said(), *(each for followed in due for each in self._what_grew(followed))]
        for _at, show in sorted(happened, key=itemgetter(0)):
            show()
        self._painter.draw([followed.record for followed in self._followed if followed.is_active()])

    def _what_was_said(self) -> Iterator[_Moment]:
        while not self._said.empty():
            at, text = self._said.get()
            yield at, partial(self._painter.say, text, at)

    def _what_grew(self, followed: _Followed) -> Iterator[_Moment]:
        for event in followed.new_events():
            show = self._painter.changed if event.at >= self._since else self._painter.known
            yield event.at, partial(show, event, followed.record)


class _Followed:
    """One device: its journal, and its record so far."""

    def __init__(self, device_id: str, path: Path) -> None:
        self.record = DeviceRecord(device_id, "", "")
        self._path = path
        self._size = 0
        self._follower = Follower(path)

    def is_active(self) -> bool:
        return self.record.outcome is Outcome.RUNNING

    def new_events(self) -> Iterator[Event]:
        """Each event that is to be shown, `record` as it is after it."""
        if not self._has_grown():
            return
        for event in self._follower.new_events():
            if event.kind not in _UNSEEN:
                self.record = fold(self.record, [event])
                yield event

    def _has_grown(self) -> bool:
        """Asking for the size costs a tenth of opening the file; a journal is only ever appended to."""
        try:
            size = self._path.stat().st_size
        except FileNotFoundError:
            return False
        has_grown, self._size = size != self._size, size
        return has_grown
