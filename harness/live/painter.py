"""What the two ways of showing a run have in common."""

from __future__ import annotations

from typing import IO, Protocol

from harness.journal import Event, Kind
from harness.record import DeviceRecord, Outcome
from harness.report import words
from harness.report.acts import Act, acts


class Painter(Protocol):
    """Shows what happened. Called from the view's thread only."""

    def open(self) -> None: ...

    def changed(self, event: Event, device: DeviceRecord) -> None:
        """A device's record after one more event."""

    def known(self, event: Event, device: DeviceRecord) -> None:
        """The same of an event that is not to be shown: it happened before the run was resumed."""

    def say(self, text: str, at: float) -> None:
        """A line about the run as a whole, said at that moment."""

    def draw(self, active: list[DeviceRecord], /) -> None:
        """Called after each look at the journals."""

    def close(self) -> None: ...


class Done:
    """The devices whose update has ended, each counted once however often it is begun."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._ids: set[str] = set()

    def take(self, event: Event, device: DeviceRecord) -> None:
        if event.kind is Kind.ENDED:
            self._ids.add(device.device_id)
        elif event.kind is Kind.STARTED and not device.restoring:
            self._ids.discard(device.device_id)

    def __len__(self) -> int:
        return len(self._ids)


def ending(device: DeviceRecord, done: Done) -> str:
    """The one line that stays of a device, and another one when it was taken back."""
    count = "" if device.restoring else f"[{len(done)}/{done.total}] "
    versions = f" {words.versions(device, '->')}" if device.version_before or device.version_after else ""
    act = latest_act(device)
    spent = words.duration(act.seconds if act else None)
    why = f": {words.one_line(words.cause(device))}" if device.outcome.failed else ""
    return f"{count}{device.device_id} {_outcome(device)}{versions} in {spent}{why}"


def _outcome(device: DeviceRecord) -> str:
    if device.restoring and device.outcome is Outcome.UPDATED:
        return words.one_line(device.reason)
    return words.OUTCOME_WORDS[device.outcome]


def latest_act(device: DeviceRecord) -> Act | None:
    """The latest time that it was begun: what it waited before a restore is no time of its own."""
    return next(reversed(acts(device)), None)


def encodable(text: str, out: IO[str]) -> str:
    """The text as `out` can show it: one foreign letter from a board must not end the view on an ASCII terminal."""
    encoding = getattr(out, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
