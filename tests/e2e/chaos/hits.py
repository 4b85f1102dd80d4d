"""What a blow hit, and how the boards it hit came back: read from the journals afterwards. Pure, but for reading."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from harness.journal import Event, Follower, Kind
from harness.record import DeviceRecord, Outcome, fold
from harness.recovery import Way, way
from harness.runs import RunFolder
from tests.e2e.project import BOARDS

Journals = Mapping[str, Sequence[Event]]

_WORDS = {Way.BEGIN: "begun anew", Way.FINISH: "finished", Way.RESTORE: "restored"}


class Watch:
    """The journals of a run as they grow. Its folder is there from the moment on that the controller makes it."""

    def __init__(self, find: Callable[[], RunFolder | None]) -> None:
        self._find = find
        self._followers: dict[str, Follower] = {}
        self._events: dict[str, list[Event]] = {board: [] for board in BOARDS}

    def journals(self) -> Journals:
        if not self._followers and (run := self._find()):
            self._followers = {board: Follower(run.journal(board)) for board in BOARDS}
        for board, follower in self._followers.items():
            self._events[board] += follower.new_events()
        return self._events


def doing(events: Iterable[Event], at: float) -> str | None:
    """The phase that a device was in at a moment; None while no worker was at it."""
    phase, restoring = None, False
    for event in events:
        if event.at > at:
            break
        match event.kind:
            case Kind.STARTED:
                phase, restoring = "between phases", bool(event.data.get("restoring"))
            case Kind.PHASE_STARTED:
                phase = f"{event.data['phase']}{' (batch rollback)' if restoring else ''}"
            case Kind.PHASE_ENDED:
                phase = "between phases"
            case Kind.ENDED:
                phase = None
    return phase


def of_worker(found: Journals, pid: int, at: float) -> list[str]:
    """The phase of the device that a worker was at."""
    phases = [doing(events, at) for events in found.values() if worker(events, at) == pid]
    return [phase for phase in phases if phase] or [_without_a_board(found, at)]


def of_controller(found: Journals, at: float) -> list[str]:
    """The phases of all devices that were being worked on."""
    return [phase for events in found.values() if (phase := doing(events, at))] or [_without_a_board(found, at)]


def _without_a_board(found: Journals, at: float) -> str:
    """The run's start and its end are moments, too: there the plan, the ledger and the reports are written."""
    starts = [event.at for events in found.values() for event in events if event.kind is Kind.STARTED]
    if all(start > at for start in starts):
        return "before the first board"
    return "between boards" if any(start > at for start in starts) else "after the last board"


def of_board(found: Journals, board: str, at: float) -> list[str]:
    return [doing(found[board], at) or "not being worked on"]


def worker(events: Iterable[Event], at: float) -> int | None:
    """The process that was (or had last been) at a device."""
    pids = [event.data["pid"] for event in events if event.kind is Kind.STARTED and event.at <= at]
    return pids[-1] if pids else None


def recoveries(found: Journals) -> list[str]:
    """How devices that had been cut short were gone on with."""
    return [_WORDS[each] for board, events in found.items() for each in _ways(board, events)]


def _ways(board: str, events: Sequence[Event]) -> list[Way]:
    record, found = DeviceRecord(board, "", ""), []
    for event in events:
        if event.kind is Kind.STARTED and record.outcome in (Outcome.RUNNING, Outcome.EMERGENCY):
            found.append(way(record))
        record = fold(record, [event])
    return found
