"""What the two ways of showing a run have in common."""

from __future__ import annotations

from typing import IO, Protocol

from harness.journal import Event
from harness.record import DeviceRecord
from harness.report import words


class Painter(Protocol):
    """Shows what happened. Called from the view's thread only."""

    def open(self) -> None: ...

    def changed(self, event: Event, device: DeviceRecord) -> None:
        """A device's record after one more event."""

    def say(self, text: str) -> None:
        """A line about the run as a whole."""

    def draw(self, active: list[DeviceRecord], /) -> None:
        """Called after each look at the journals."""

    def close(self) -> None: ...


def ending(device: DeviceRecord, ended: int, total: int) -> str:
    """The one line that stays of a device."""
    why = f": {words.one_line(words.cause(device))}" if device.outcome.failed else ""
    versions = f" {words.versions(device, '->')}" if device.version_before or device.version_after else ""
    return (
        f"[{ended}/{total}] {device.device_id} {words.OUTCOME_WORDS[device.outcome]}{versions}"
        f" in {words.duration(device.seconds)}{why}"
    )


def encodable(text: str, out: IO[str]) -> str:
    """The text as `out` can show it: one foreign letter from a board must not end the view on an ASCII terminal."""
    encoding = getattr(out, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
