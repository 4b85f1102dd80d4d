"""How the reports speak: outcomes and states in words, numbers with their units. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from harness.record import DeviceRecord, Outcome, Phase, PhaseRecord, RunRecord

OUTCOME_WORDS = {
    Outcome.UPDATED: "updated",
    Outcome.UNCHANGED: "unchanged",
    Outcome.ROLLED_BACK: "rolled back",
    Outcome.UNTOUCHED: "untouched",
    Outcome.RESTORED: "restored",
    Outcome.EMERGENCY: "EMERGENCY",
    Outcome.RUNNING: "running",
    Outcome.NOT_RUN: "not run",
}
OUTCOME_SIGNS = {
    Outcome.UPDATED: "✔",
    Outcome.UNCHANGED: "=",
    Outcome.ROLLED_BACK: "↩",
    Outcome.UNTOUCHED: "✘",
    Outcome.RESTORED: "↺",
    Outcome.EMERGENCY: "⚠",
    Outcome.RUNNING: "…",
    Outcome.NOT_RUN: "○",
}

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_NAMED = 6  # devices, where many share a line
_KIB = 1024
_MINUTE_S = 60
_HOUR_S = 3600


def printable(text: str) -> str:
    """The text with control characters spelled out (`\\x1b`): what a board prints must not steer a terminal, and XML
    has no way to hold most of them. Line ends become `\\n`; tabs stay.
    """
    return _CONTROL.sub(lambda match: _spelled(match.group()), text.replace("\r\n", "\n"))


def one_line(text: str) -> str:
    """The same on one line."""
    return " ".join(printable(text).split())


def _spelled(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"


def duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < _MINUTE_S:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), _MINUTE_S)
    if seconds < _HOUR_S:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def size(count: float | None) -> str:
    """A number of bytes."""
    if count is None:
        return "-"
    if count < _KIB:
        return f"{count:.0f} B"
    if count < _KIB * _KIB:
        return f"{_short(count / _KIB)} KiB"
    return f"{_short(count / _KIB / _KIB)} MiB"


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def speed(bytes_per_second: float | None) -> str:
    return "-" if bytes_per_second is None else f"{size(bytes_per_second)}/s"


def moment(at: float | None) -> str:
    """Seconds since the epoch as ISO 8601 in UTC, to the second."""
    return "" if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def clock(at: float | None) -> str:
    """The same for people: `2026-09-21 14:13:20 UTC`."""
    return "-" if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def time_of_day(at: float | None) -> str:
    """The same without its day: `14:13:20`."""
    return "-" if at is None else f"{datetime.fromtimestamp(at, UTC):%H:%M:%S}"


def together(names: Sequence[str]) -> str:
    """The first few of many names that share a line, and how many more there are."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"


def plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def state(device: DeviceRecord) -> str:
    """Which firmware the board is on, in a sentence."""
    had = device.version_before or "the firmware that it had"
    now = device.version_after or device.wanted_version or "the new firmware"
    unproven = device.what_is_not_told
    seen = f"not verified: {unproven}" if unproven else "seen running; what it holds was not compared"
    proof = "verified" if device.is_verified else seen
    return {
        Outcome.UPDATED: f"on {now}, {proof}",
        Outcome.UNCHANGED: f"was on {now} already, {proof}; nothing was written",
        Outcome.ROLLED_BACK: f"back on {had}: {device.reason}" if device.reason else f"back on {had}, verified",
        Outcome.UNTOUCHED: f"nothing was written: still on {had}",
        Outcome.RESTORED: f"taken back to {had}: {device.reason}"
        if device.reason
        else f"taken back to {had}, verified",
        Outcome.EMERGENCY: "on neither firmware, or nobody knows",
        Outcome.RUNNING: "not finished",
        Outcome.NOT_RUN: "did not run",
    }[device.outcome]


def versions(device: DeviceRecord, arrow: str = "→") -> str:
    """Before and after, as far as they are known; of a restored device also what it was on in between."""
    if device.version_before is None and device.version_after is None:
        return "-"
    between = [device.wanted_version] if device.outcome is Outcome.RESTORED else []
    return f" {arrow} ".join(version or "?" for version in (device.version_before, *between, device.version_after))


def what_to_do(run: RunRecord, device: DeviceRecord) -> str:
    """The error's advice; for an emergency, how to bring the board back."""
    advice = device.error.advice if device.error else ""
    if device.outcome is not Outcome.EMERGENCY:
        return advice
    again = f"Do not use or ship this board. To finish or restore it: pytest {run.batch_file} --resume {run.run_id}"
    return f"{advice} {again}".strip()


def phase_name(phase: PhaseRecord) -> str:
    """`flash (attempt 2)`; what comes before the first attempt has no number, nor has a rollback: it is none."""
    is_of_attempt = phase.attempt and phase.phase is not Phase.ROLLBACK
    return f"{phase.phase} (attempt {phase.attempt})" if is_of_attempt else str(phase.phase)


def cause(device: DeviceRecord) -> str:
    """What failed, and where; for a device that did not run, why."""
    if device.error is None:
        return device.reason
    where = f"{device.error.phase}: " if device.error.phase else ""
    return f"{where}{device.error.message}"
