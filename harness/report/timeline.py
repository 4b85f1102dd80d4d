"""A device's phases as bars over time, across its attempts. Pure geometry; the template draws it.

Where a device waited between two times that it was worked on, the drawing is broken: an hour's pause before it was
taken back would leave nothing of the minute that it took.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate

from harness.record import DeviceRecord, Phase, PhaseOutcome, PhaseRecord
from harness.report import words
from harness.report.acts import Act, acts

WIDTH = 320.0
"""Of the whole scale, in the drawing's units."""

_NARROWEST = 1.5  # a phase of no time at all is still to be seen
_LETTER_WIDTH = 11.0
_BREAK = 14.0
_MOST_BREAKS = 0.25  # of the width; they get narrower where there are so many

COLOURS = {
    Phase.LOCK: "#4b5563",
    Phase.IDENTIFY: "#0369a1",
    Phase.BACKUP: "#6d28d9",
    Phase.FLASH: "#b45309",
    Phase.VERIFY: "#0f766e",
    Phase.BOOT: "#3f6212",
    Phase.TEST: "#a21caf",
    Phase.CONFIRM: "#1d4ed8",
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
    Phase.CONFIRM: "C",
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


@dataclass(frozen=True)
class Break:
    """A pause that is not drawn to scale; `x` is its middle."""

    x: float
    title: str


def scale(devices: Iterable[DeviceRecord]) -> float:
    """The seconds that `WIDTH` stands for: the longest device's, so that all rows can be compared."""
    return max((_span(acts(device)) for device in devices), default=0.0)


def bars(device: DeviceRecord, scale_s: float) -> tuple[Bar, ...]:
    if scale_s <= 0:
        return ()
    told = acts(device)
    units_per_s = WIDTH / scale_s
    return tuple(
        _bar(phase, act, _end_of(phase, act), x, units_per_s)
        for act, x in zip(told, _starts(told, units_per_s), strict=True)
        for phase in act.phases
    )


def breaks(device: DeviceRecord, scale_s: float) -> tuple[Break, ...]:
    """One between each two of the device's acts."""
    if scale_s <= 0:
        return ()
    told = acts(device)
    starts = _starts(told, WIDTH / scale_s)
    middle = _break_width(told) / 2
    return tuple(
        Break(round(x - middle, 2), f"a pause of {words.duration(max(0.0, act.started - before.ended))}")
        for before, act, x in zip(told, told[1:], starts[1:], strict=False)
    )


def _span(told: tuple[Act, ...]) -> float:
    """Seconds that the whole width must stand for, if these acts and the breaks between them are to fit in."""
    return sum(act.seconds for act in told) * WIDTH / (WIDTH - _break_width(told) * max(0, len(told) - 1))


def _break_width(told: tuple[Act, ...]) -> float:
    return min(_BREAK, WIDTH * _MOST_BREAKS / max(1, len(told) - 1))


def _starts(told: tuple[Act, ...], units_per_s: float) -> list[float]:
    """Where each act begins in the drawing."""
    ends = accumulate(act.seconds * units_per_s + _break_width(told) for act in told[:-1])
    return [0.0, *ends] if told else []


def _end_of(phase: PhaseRecord, act: Act) -> float:
    """One that was cut short lasted until what is known next."""
    if phase.ended is not None:
        return phase.ended
    return min((other.started for other in act.phases if other.started > phase.started), default=act.ended)


def _bar(phase: PhaseRecord, act: Act, ended: float, act_x: float, units_per_s: float) -> Bar:
    x = min(act_x + max(0.0, phase.started - act.started) * units_per_s, WIDTH - _NARROWEST)
    width = min(max((ended - phase.started) * units_per_s, _NARROWEST), WIDTH - x)
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
