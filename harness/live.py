"""The live view of a run: a line per active device, from the journals, drawn by a thread of the controller.

On a terminal the lines are redrawn in place and finished devices scroll by above them; elsewhere (a CI log) every
change of phase is a plain line. Whatever goes wrong here, the run goes on without it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harness.journal import Event, Follower, Kind
from harness.record import DeviceRecord, Outcome, PhaseOutcome, PhaseRecord, fold
from harness.report import words

_POLL_S = 0.2
_STOP_S = 5.0
_UNSEEN = frozenset({Kind.LOG, Kind.CONSOLE})  # long, and not shown here
_BAR_WIDTH = 20
_SMOOTHING = 0.4
_ROOM_BELOW = 3  # lines of the terminal that stay free of devices; what does not fit is only counted
_STYLES = {
    Outcome.UPDATED: "green",
    Outcome.UNCHANGED: "green",
    Outcome.ROLLED_BACK: "yellow",
    Outcome.UNTOUCHED: "red",
    Outcome.EMERGENCY: "bold white on red",
}


class Painter(Protocol):
    """Shows what happened. Called from the view's thread only."""

    def open(self) -> None: ...

    def changed(self, event: Event, device: DeviceRecord) -> None:
        """A device's record after one more event."""

    def draw(self, active: list[DeviceRecord], /) -> None:
        """Called after each look at the journals."""

    def close(self) -> None: ...


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
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="batch-flash live view", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Show what is still to be shown and give the terminal back."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(_STOP_S)

    def _run(self) -> None:
        try:
            self._painter.open()
            try:
                while not self._stop.wait(_POLL_S):
                    self._look()
                self._look()
            finally:
                self._painter.close()
        except Exception:  # noqa: BLE001, S110  (a thread's boundary: a closed terminal or a foreign journal must not end a run)
            pass

    def _look(self) -> None:
        for followed in self._followed.values():
            for event in followed.new_events():
                self._painter.changed(event, followed.record)
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


def ending(device: DeviceRecord, ended: int, total: int) -> str:
    """The one line that stays of a device."""
    why = f": {words.one_line(words.cause(device))}" if device.outcome.failed else ""
    version = f"{device.version_before or '?'} -> {device.version_after or '?'}"
    return (
        f"[{ended}/{total}] {device.device_id} {words.OUTCOME_WORDS[device.outcome]} {version}"
        f" in {words.duration(device.seconds)}{why}"
    )


class LinePainter:
    """Plain lines with time stamps, no control characters."""

    def __init__(self, total: int, out: TextIO) -> None:
        self._total = total
        self._ended = 0
        self._out = out

    def open(self) -> None:
        pass

    def changed(self, event: Event, device: DeviceRecord) -> None:
        self._ended += event.kind is Kind.ENDED
        text = self._text(event, device)
        if text:
            stamp = time.strftime("%H:%M:%S", time.localtime(event.at))
            self._out.write(f"{stamp} {words.one_line(text)}\n")

    def _text(self, event: Event, device: DeviceRecord) -> str:
        match event.kind:
            case Kind.PHASE_STARTED:
                return f"{device.device_id} {words.phase_name(device.phases[-1])}"
            case Kind.RETRY:
                return f"{device.device_id} again in {event.data['wait_s']:.1f} s: {event.data['error']['message']}"
            case Kind.ENDED:
                return ending(device, self._ended, self._total)
        return ""

    def draw(self, _active: list[DeviceRecord], /) -> None:
        self._out.flush()

    def close(self) -> None:
        self._out.flush()


@dataclass(frozen=True)
class _Speed:
    """The rate of a phase that began at `started`, in bytes a second, smoothed over a few reports of progress."""

    started: float
    at: float
    done: int = 0
    rate: float = 0.0

    def now(self, at: float, done: int) -> _Speed:
        if at <= self.at or done <= self.done:  # a tool that counts anew for each image
            return replace(self, at=max(at, self.at), done=done)
        latest = (done - self.done) / (at - self.at)
        rate = latest if not self.rate else self.rate + _SMOOTHING * (latest - self.rate)
        return replace(self, at=at, done=done, rate=rate)


class _Terminal(Console):
    def on_broken_pipe(self) -> None:
        """Rich would end the process, and turn the standard output of all of it to /dev/null."""
        raise BrokenPipeError


class ScreenPainter:
    """Lines that are redrawn in place, by rich."""

    def __init__(self, total: int, out: TextIO, clock: Callable[[], float]) -> None:
        self._total = total
        self._clock = clock
        self._ended = 0
        self._endings: list[Text] = []  # to scroll by with the next drawing
        self._speeds: dict[str, _Speed] = {}
        self._console = _Terminal(file=out, force_terminal=True, highlight=False, emoji=False, markup=False)
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="ellipsis",
        )

    def open(self) -> None:
        self._live.start()

    def changed(self, event: Event, device: DeviceRecord) -> None:
        if event.kind is Kind.PROGRESS:
            self._measure(event, device)
        if event.kind is Kind.ENDED:
            self._ended += 1
            self._endings.append(Text(ending(device, self._ended, self._total), _STYLES.get(device.outcome, "")))

    def _measure(self, event: Event, device: DeviceRecord) -> None:
        phase = device.phases[-1] if device.phases else None
        if phase is None:
            return
        known = self._speeds.get(device.device_id)
        if known is None or known.started != phase.started:
            known = _Speed(phase.started, phase.started)
        self._speeds[device.device_id] = known.now(event.at, int(event.data["done"]))

    def draw(self, active: list[DeviceRecord], /) -> None:
        table = Table.grid(padding=(0, 1))
        for device in active[: max(1, self._console.height - _ROOM_BELOW)]:
            table.add_row(*self._row(device))
        status = Text(f"{self._ended} of {self._total} done, {len(active)} active", "bold")
        self._live.update(Group(table, status))
        if self._endings:
            self._console.print(Text("\n").join(self._endings))  # draws the view anew, below them
            self._endings.clear()
        else:
            self._live.refresh()

    def _row(self, device: DeviceRecord) -> list[Text | ProgressBar]:
        now = self._clock()
        elapsed = words.duration(max(0.0, now - (device.started or now)))
        phase = device.phases[-1] if device.phases else None
        if phase is None or phase.outcome is not PhaseOutcome.RUNNING:
            return [Text(device.device_id), Text("..."), Text(""), Text(""), Text(""), Text(elapsed)]
        return [
            Text(device.device_id),
            Text(words.phase_name(phase), "yellow" if phase.attempt > 1 else "cyan"),
            ProgressBar(total=phase.total, completed=phase.done, width=_BAR_WIDTH) if phase.total else Text(""),
            Text(f"{100 * phase.done // phase.total:3}%" if phase.total else ""),
            Text(self._rate(device, phase)),
            Text(elapsed),
        ]

    def _rate(self, device: DeviceRecord, phase: PhaseRecord) -> str:
        speed = self._speeds.get(device.device_id)
        return words.speed(speed.rate) if speed and speed.started == phase.started and speed.rate else ""

    def close(self) -> None:
        self._live.stop()
