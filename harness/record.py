"""What became of a device and of a run, as data: the journals' events folded into records. Pure.

Reports, ledger and terminal read these records and nothing else, so that they can not disagree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from drivers.base import Category, Identity
from harness.journal import Event, Kind
from harness.rollout.state import RolloutState


class Phase(StrEnum):
    """What is done to a device, in this order."""

    LOCK = "lock"
    IDENTIFY = "identify"
    BACKUP = "backup"
    FLASH = "flash"
    VERIFY = "verify"
    BOOT = "boot"
    TEST = "test"
    CONFIRM = "confirm"  # only of boards with slots
    ROLLBACK = "rollback"


INTERRUPTED = "Interrupted"
"""The kind of an error that is none of the board's: its worker died, or the run was stopped."""

SETUP_FAILED = "SetupFailed"
"""The kind of an error of the lab's own fixtures."""

SAYS_NOTHING_OF_THE_BOARD = frozenset(
    {
        INTERRUPTED,
        SETUP_FAILED,
        "HarnessFault",  # a full disk, a damaged store
        "PortInUse",  # somebody else's at that time: nothing was asked of the board
        "PortPermission",  # the user's rights on this machine
        "BadImage",  # the batch's mistake, as the next one
        "UnknownDeviceType",
    }
)
"""Kinds of errors that would have been the same with any board in its place."""

WRITING_PHASES = frozenset({Phase.FLASH, Phase.ROLLBACK})
"""Phases that leave a board in an unknown state when they are cut short."""


class PhaseOutcome(StrEnum):
    RUNNING = "running"  # begun, not ended: still going on, or cut short
    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"  # there was nothing to do, `detail` says why


class Outcome(StrEnum):
    """The state that a device ended in."""

    UPDATED = "updated"  # on the new firmware, verified
    UNCHANGED = "unchanged"  # was on the new firmware already, verified; nothing was written
    ROLLED_BACK = "rolled-back"  # failed; on the firmware that it had, verified
    UNTOUCHED = "untouched"  # failed before anything was written: on the firmware that it had
    RESTORED = "restored"  # did not fail, but the rollout did: on the firmware that it had, verified
    EMERGENCY = "emergency"  # on neither, or nobody knows
    RUNNING = "running"
    NOT_RUN = "not-run"

    @property
    def succeeded(self) -> bool:
        return self in (Outcome.UPDATED, Outcome.UNCHANGED)

    @property
    def failed(self) -> bool:
        return self in (Outcome.ROLLED_BACK, Outcome.UNTOUCHED, Outcome.EMERGENCY)

    @property
    def is_certain(self) -> bool:
        """Whether it says which firmware the board is on."""
        return self not in (Outcome.EMERGENCY, Outcome.RUNNING, Outcome.NOT_RUN)


@dataclass(frozen=True)
class ErrorRecord:
    """An error as the reports tell it. `kind` is the exception's name, `phase` where it happened."""

    category: Category
    kind: str
    message: str
    advice: str
    phase: Phase | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "category": str(self.category),
            "kind": self.kind,
            "message": self.message,
            "advice": self.advice,
            "phase": str(self.phase) if self.phase else None,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ErrorRecord:
        phase = data.get("phase")
        return cls(
            Category(data["category"]),
            data["kind"],
            data["message"],
            data.get("advice", ""),
            Phase(phase) if phase else None,
        )


@dataclass(frozen=True)
class PhaseRecord:
    """One phase in one attempt. Times in seconds since the epoch; figures such as bytes, sent bytes, blocks."""

    phase: Phase
    attempt: int
    started: float
    ended: float | None = None
    outcome: PhaseOutcome = PhaseOutcome.RUNNING
    detail: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)
    error: ErrorRecord | None = None
    done: int = 0  # bytes, live
    total: int = 0  # bytes, live

    @property
    def seconds(self) -> float | None:
        return None if self.ended is None else self.ended - self.started


@dataclass(frozen=True)
class Attempt:
    """One try at the device. `wait_s` is the pause after it, in seconds, where another followed."""

    number: int
    baud: int
    started: float
    error: ErrorRecord | None = None
    wait_s: float | None = None


@dataclass(frozen=True)
class DeviceRecord:
    """Everything that is known of one device in one run."""

    device_id: str
    device_type: str
    port: str
    wanted_version: str | None = None
    outcome: Outcome = Outcome.NOT_RUN
    update_outcome: Outcome = Outcome.NOT_RUN  # of the update itself, which a batch rollback does not change
    identity: Identity | None = None
    version_before: str | None = None
    version_after: str | None = None
    attempts: tuple[Attempt, ...] = ()
    phases: tuple[PhaseRecord, ...] = ()
    error: ErrorRecord | None = None
    reason: str = ""  # why it did not run, or what the emergency is, in words
    log: tuple[str, ...] = ()
    console: str = ""
    worker: str = ""
    started: float | None = None
    ended: float | None = None
    # How the journal is read on; a record that is kept does without.
    known: Outcome = field(default=Outcome.NOT_RUN, compare=False)  # how it had ended before it was begun (again)
    begun_at: int = field(default=0, compare=False)  # of `phases`: those from here on belong to the latest beginning
    restoring: bool = field(default=False, compare=False)  # that beginning is the batch rollback's

    @property
    def seconds(self) -> float | None:
        return None if self.started is None or self.ended is None else self.ended - self.started

    @property
    def is_verified(self) -> bool:
        """Whether the board's flash was compared with the images, or it checked them itself as it received them; and
        that what runs was not one of two firmwares that nothing tells apart.
        """
        compared = any(each.phase is Phase.VERIFY and each.outcome is PhaseOutcome.PASSED for each in self.phases)
        return compared and not self.what_is_not_told

    @property
    def what_is_not_told(self) -> str:
        """Why nobody knows which firmware runs, in words; empty where that is known."""
        confirm = next((each for each in reversed(self.phases) if each.phase is Phase.CONFIRM), None)
        return confirm.detail if confirm and confirm.outcome is PhaseOutcome.SKIPPED else ""

    @property
    def uncertain_phases(self) -> tuple[PhaseRecord, ...]:
        """The phases since it was last certain which firmware the board is on."""
        return self.phases[self.begun_at if self.known.is_certain else 0 :]

    @property
    def was_written(self) -> bool:
        """Whether something may have been written since then."""
        return any(
            phase.phase in WRITING_PHASES and phase.outcome is not PhaseOutcome.SKIPPED
            for phase in self.uncertain_phases
        )

    @property
    def certain_outcome(self) -> Outcome | None:
        """How it ended, as far as that still says which firmware the board is on; None where it does not."""
        if self.outcome is Outcome.RUNNING and not self.was_written:
            return self.known if self.known.is_certain else None
        return self.outcome if self.outcome.is_certain else None

    def phase_seconds(self, phase: Phase) -> float | None:
        """Seconds spent in a phase over all attempts; None when it never ran to its end."""
        spent = [p.seconds for p in self.phases if p.phase is phase and p.seconds is not None]
        return sum(spent) if spent else None


@dataclass(frozen=True)
class RunNote:
    """Something that happened to the run as a whole, in words. `at` is in seconds since the epoch."""

    at: float
    text: str
    loud: bool = False


@dataclass(frozen=True)
class RunRecord:
    """A run of one batch: its devices in the batch's order, whether they ran or not."""

    run_id: str
    batch_name: str
    batch_file: str
    description: str
    version: str
    strategy: str
    started: float
    ended: float | None
    devices: tuple[DeviceRecord, ...]
    simulated: bool = False
    interrupted: str = ""  # what ended the run before its time, in words
    rehearsal: bool = False  # virtual twins in the place of all boards (--simulate)
    rollout: RolloutState = field(default_factory=RolloutState)
    notes: tuple[RunNote, ...] = ()

    def with_outcome(self, *outcomes: Outcome) -> tuple[DeviceRecord, ...]:
        return tuple(device for device in self.devices if device.outcome in outcomes)

    @property
    def emergencies(self) -> tuple[DeviceRecord, ...]:
        return self.with_outcome(Outcome.EMERGENCY)


def fold(device: DeviceRecord, events: Iterable[Event]) -> DeviceRecord:
    """The record after more events; begin with `DeviceRecord(device_id, device_type, port)`.

    Never fails: an event that does not say what its kind says (another version's, a damaged line) is passed over.
    """
    said: dict[Kind, list[str]] = {Kind.LOG: [], Kind.CONSOLE: []}  # thousands of lines: joined once, at the end
    for event in events:
        try:
            if event.kind in said:
                said[event.kind].append(_text(event))
            else:
                device = _FOLD[event.kind](device, event)
        except (AttributeError, KeyError, TypeError, ValueError):
            continue
    log, console = said.values()
    return replace(device, log=(*device.log, *log), console=device.console + "".join(console))


def _text(event: Event) -> str:
    text = event.data["text"]
    if not isinstance(text, str):
        raise TypeError(text)
    return text


def settle(device: DeviceRecord, reason: str, at: float | None = None) -> DeviceRecord:
    """The final record of a device whose run is over without a last word (its worker died, the run was stopped).

    Before anything was written a board still is what it was; from then on nobody knows, and that is an emergency.
    """
    if device.outcome is not Outcome.RUNNING:
        return replace(device, reason=device.reason or reason) if device.outcome is Outcome.NOT_RUN else device
    in_phase = next((p for p in reversed(device.phases) if p.outcome is PhaseOutcome.RUNNING), None)
    where = f" during {in_phase.phase}" if in_phase else ""
    if where in reason:  # a quarantine's reason tells it already
        where = ""
    if device.known.is_certain and not device.was_written:
        not_done = "not restored" if device.restoring else "not run again"
        return replace(device, outcome=device.known, reason=f"{not_done}: {reason}{where}", ended=at or device.started)
    error = ErrorRecord(
        Category.OTHER,
        INTERRUPTED,
        f"{reason}{where}",
        "Resume the run: the board is verified, then finished or restored."
        if device.was_written
        else "Nothing had been written. Resume the run, or run the batch again for this device.",
        in_phase.phase if in_phase else None,
    )
    outcome = Outcome.EMERGENCY if device.was_written else Outcome.UNTOUCHED
    return replace(
        device,
        outcome=outcome,
        update_outcome=device.update_outcome if device.restoring else outcome,
        reason=f"{reason}{where}",
        error=device.error or error,
        ended=at if at is not None else device.started,
    )


def _started(device: DeviceRecord, event: Event) -> DeviceRecord:
    """Also a second time: after its worker died, when its run is resumed, and to be restored."""
    return replace(
        device,
        outcome=Outcome.RUNNING,
        known=device.outcome if device.outcome is not Outcome.RUNNING else device.known,
        begun_at=len(device.phases),
        restoring=bool(event.data.get("restoring", False)),
        started=device.started or event.at,
        ended=None,
        error=None,
        reason="",
        worker=str(event.data.get("worker", "")),
        wanted_version=event.data.get("wanted_version", device.wanted_version),
    )


def _identified(device: DeviceRecord, event: Event) -> DeviceRecord:
    return replace(device, identity=Identity(**event.data))


def _version(device: DeviceRecord, event: Event) -> DeviceRecord:
    if event.data["which"] == "before":
        return replace(device, version_before=event.data["version"])
    return replace(device, version_after=event.data["version"])


def _attempt(device: DeviceRecord, event: Event) -> DeviceRecord:
    attempt = Attempt(event.data["number"], event.data["baud"], event.at)
    return replace(device, attempts=(*device.attempts, attempt))


def _retry(device: DeviceRecord, event: Event) -> DeviceRecord:
    error = ErrorRecord.from_json(event.data["error"])
    if not device.attempts:  # a full disk can lose any event but the start of a phase
        return device
    last = replace(device.attempts[-1], error=error, wait_s=event.data["wait_s"])
    return replace(device, attempts=(*device.attempts[:-1], last))


def _phase_started(device: DeviceRecord, event: Event) -> DeviceRecord:
    phase = PhaseRecord(Phase(event.data["phase"]), event.data["attempt"], event.at)
    return replace(device, phases=(*device.phases, phase))


def _phase_ended(device: DeviceRecord, event: Event) -> DeviceRecord:
    error = event.data.get("error")
    phase, attempt = Phase(event.data["phase"]), event.data["attempt"]
    last = device.phases[-1] if device.phases else None
    if last is None or (last.phase, last.attempt, last.outcome) != (phase, attempt, PhaseOutcome.RUNNING):
        # Its start is lost (a rollback goes on with a full disk): it must not pass for the end of another phase.
        device = replace(device, phases=(*device.phases, PhaseRecord(phase, attempt, event.at)))
    return _replace_last_phase(
        device,
        ended=event.at,
        outcome=PhaseOutcome(event.data["outcome"]),
        detail=event.data.get("detail", ""),
        figures=event.data.get("figures", {}),
        error=ErrorRecord.from_json(error) if error else None,
    )


def _progress(device: DeviceRecord, event: Event) -> DeviceRecord:
    if not device.phases or device.phases[-1].outcome is not PhaseOutcome.RUNNING:
        return device
    return _replace_last_phase(device, done=event.data["done"], total=event.data["total"])


def _replace_last_phase(device: DeviceRecord, **changes: Any) -> DeviceRecord:
    return replace(device, phases=(*device.phases[:-1], replace(device.phases[-1], **changes)))


def _ended(device: DeviceRecord, event: Event) -> DeviceRecord:
    error = event.data.get("error")
    outcome = Outcome(event.data["outcome"])
    return replace(
        device,
        outcome=outcome,
        update_outcome=device.update_outcome if device.restoring else outcome,
        ended=event.at,
        error=ErrorRecord.from_json(error) if error else None,
        reason=event.data.get("reason", ""),
    )


_FOLD = {
    Kind.STARTED: _started,
    Kind.IDENTIFIED: _identified,
    Kind.VERSION: _version,
    Kind.ATTEMPT: _attempt,
    Kind.RETRY: _retry,
    Kind.PHASE_STARTED: _phase_started,
    Kind.PHASE_ENDED: _phase_ended,
    Kind.PROGRESS: _progress,
    Kind.ENDED: _ended,
}
