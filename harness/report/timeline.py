"""A device's phases as bars over time, across its attempts. Pure geometry; the template draws it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from harness.record import DeviceRecord, Phase, PhaseOutcome, PhaseRecord
from harness.report import words

WIDTH = 320.0
"""Of the whole scale, in the drawing's units."""

_NARROWEST = 1.5  # a phase of no time at all is still to be seen
_LETTER_WIDTH = 11.0

COLOURS = {
    Phase.LOCK: "#4b5563",
    Phase.IDENTIFY: "#0369a1",
    Phase.BACKUP: "#6d28d9",
    Phase.FLASH: "#b45309",
    Phase.VERIFY: "#0f766e",
    Phase.BOOT: "#3f6212",
    Phase.TEST: "#a21caf",
    Phase.ROLLBACK: "#b91c1c",
}
"""White letters on each are readable (WCAG AA, 4.5:1)."""

LETTERS = {
    Phase.LOCK: "L",
    Phase.IDENTIFY: "I",
    Phase.BACKUP: "B",
    Phase.FLASH: "F",
    Phase.VERIFY: "V",
    Phase.BOOT: "S",
    Phase.TEST: "T",
    Phase.ROLLBACK: "R",
}
"""What a bar shows beside its colour; S is for the start of the firmware."""


@dataclass(frozen=True)
class Bar:
    """One phase: `x` and `width` in the drawing's units. `letter` is empty where it would not fit."""

    x: float
    width: float
    colour: str
    letter: str
    title: str
    failed: bool
    unfinished: bool


def scale(devices: Iterable[DeviceRecord]) -> float:
    """The seconds that `WIDTH` stands for: the longest device's, so that all rows can be compared."""
    return max((_span(device) for device in devices), default=0.0)


def bars(device: DeviceRecord, scale_s: float) -> tuple[Bar, ...]:
    start = _start(device)
    if start is None or scale_s <= 0:
        return ()
    end = start + _span(device)
    return tuple(_bar(phase, start, end, WIDTH / scale_s) for phase in device.phases)


def _bar(phase: PhaseRecord, start: float, end: float, units_per_s: float) -> Bar:
    x = min(max(0.0, phase.started - start) * units_per_s, WIDTH - _NARROWEST)
    seconds = max(0.0, (end if phase.ended is None else phase.ended) - phase.started)
    width = min(max(seconds * units_per_s, _NARROWEST), WIDTH - x)
    return Bar(
        x=round(x, 2),
        width=round(width, 2),
        colour=COLOURS[phase.phase],
        letter=LETTERS[phase.phase] if width >= _LETTER_WIDTH else "",
        title=_title(phase),
        failed=phase.outcome is PhaseOutcome.FAILED,
        unfinished=phase.outcome is PhaseOutcome.RUNNING,
    )


def _title(phase: PhaseRecord) -> str:
    spent = "not finished" if phase.ended is None else words.duration(phase.seconds)
    return f"{words.phase_name(phase)}: {phase.outcome}, {spent}"


def _start(device: DeviceRecord) -> float | None:
    starts = [phase.started for phase in device.phases]
    if device.started is not None:
        starts.append(device.started)
    return min(starts, default=None)


def _span(device: DeviceRecord) -> float:
    start = _start(device)
    if start is None:
        return 0.0
    ends = [phase.ended if phase.ended is not None else phase.started for phase in device.phases]
    if device.ended is not None:
        ends.append(device.ended)
    return max(0.0, max(ends, default=start) - start)
