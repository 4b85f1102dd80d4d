"""The live view on a terminal, redrawn in place by rich."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from harness.journal import Event, Kind
from harness.live.painter import Done, encodable, ending, latest_act
from harness.record import DeviceRecord, Outcome, PhaseOutcome, PhaseRecord
from harness.report import words

_BAR_WIDTH = 20
_SMOOTHING = 0.4
_ROOM_BELOW = 3  # lines of the terminal that stay free of devices; what does not fit is only counted
_STYLES = {
    Outcome.UPDATED: "green",
    Outcome.UNCHANGED: "green",
    Outcome.ROLLED_BACK: "yellow",
    Outcome.UNTOUCHED: "red",
    Outcome.RESTORED: "yellow",
    Outcome.EMERGENCY: "bold white on red",
}


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
    def __init__(self, total: int, out: TextIO, clock: Callable[[], float]) -> None:
        self._done = Done(total)
        self._clock = clock
        self._endings: list[Text] = []  # of devices, and what else is said; to scroll by with the next drawing
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
        self._done.take(event, device)
        if event.kind is Kind.PROGRESS:
            self._measure(event, device)
        if event.kind is Kind.ENDED:
            self._endings.append(self._text(ending(device, self._done), _STYLES.get(device.outcome, "")))

    def known(self, event: Event, device: DeviceRecord) -> None:
        self._done.take(event, device)

    def say(self, text: str, _at: float) -> None:
        self._endings.append(self._text(text, "bold"))

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
        status = Text(f"{len(self._done)} of {self._done.total} done, {len(active)} active", "bold")
        self._live.update(Group(table, status))
        if self._endings:
            self._console.print(Text("\n").join(self._endings))  # draws the view anew, below them
            self._endings.clear()
        else:
            self._live.refresh()

    def _row(self, device: DeviceRecord) -> list[Text | ProgressBar]:
        now = self._clock()
        act = latest_act(device)
        elapsed = words.duration(max(0.0, now - (act.started if act else now)))
        phase = device.phases[-1] if device.phases else None
        if phase is None or phase.outcome is not PhaseOutcome.RUNNING:
            return [self._text(device.device_id), Text("..."), Text(""), Text(""), Text(""), Text(elapsed)]
        return [
            self._text(device.device_id),
            Text(words.phase_name(phase), "yellow" if phase.attempt > 1 else "cyan"),
            ProgressBar(total=phase.total, completed=phase.done, width=_BAR_WIDTH) if phase.total else Text(""),
            Text(f"{100 * phase.done // phase.total:3}%" if phase.total else ""),
            Text(self._rate(device, phase)),
            Text(elapsed),
        ]

    def _text(self, text: str, style: str = "") -> Text:
        return Text(encodable(text, self._console.file), style)

    def _rate(self, device: DeviceRecord, phase: PhaseRecord) -> str:
        speed = self._speeds.get(device.device_id)
        return words.speed(speed.rate) if speed and speed.started == phase.started and speed.rate else ""

    def close(self) -> None:
        self._live.stop()
