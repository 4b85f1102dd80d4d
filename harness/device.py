"""One target of the batch in this run: its plan, its images, its journal. The fixture `device` is one of these."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from drivers.base import DeviceError, Driver, Identity, Link, Options, Segment, Session
from harness.config import LogLevel
from harness.deadline import LimitReached, limit
from harness.journal import Journal, Kind
from harness.record import DeviceRecord, ErrorRecord, Outcome, Phase, PhaseOutcome
from harness.recovery import Way, way
from harness.snapshot import DevicePlan

_PROGRESS_EVERY_S = 0.25  # the live view redraws no faster, and every event is a line in a file


class HarnessFault(DeviceError):
    """Our side failed (a full disk, a damaged store, a bug), not the board."""

    default_advice = "Read the cause, mend it on this machine, and run the batch again for this device."


@dataclass
class PhaseNotes:
    """What a phase has to say when it ends well."""

    detail: str = ""
    skipped: bool = False
    figures: dict[str, float] = field(default_factory=dict)

    def skip(self, why: str) -> None:
        self.skipped = True
        self.detail = why


@dataclass(frozen=True)
class Ending:
    """How a device ended; `reason` says in words what an emergency is, or what is to be noted."""

    outcome: Outcome
    error: ErrorRecord | None = None
    reason: str = ""


class Device:
    """State that changes has this one owner; everything that happens to the device is told to its journal here."""

    def __init__(
        self,
        plan: DevicePlan,
        driver: Driver,
        images: Sequence[Segment],
        journal: Journal,
        run_id: str,
        found: DeviceRecord,
        log_level: LogLevel = LogLevel.INFO,
        previous: Sequence[Segment] = (),
    ) -> None:
        """`found` is what the journal told when it was opened, `previous` what the batch says that the board holds."""
        self.plan = plan
        self.previous = tuple(previous)
        self.driver = driver
        self.images = tuple(images)
        self.run_id = run_id
        self.found = found
        self.way = way(found)
        self.touched = self.way is not Way.BEGIN
        """Something may have been written: from here on a failure must be rolled back."""
        self.identity: Identity | None = found.identity if self.touched else None
        self.version_before: str | None = found.version_before if self.touched else None
        self.attempt = len(found.attempts)
        self.journal_fault = ""
        self._journal = journal
        self._log_level = log_level
        self._last_progress = 0.0

    @property
    def device_id(self) -> str:
        return self.plan.device_id

    @property
    def version(self) -> str:
        """The version that the batch brings."""
        return self.plan.version

    @property
    def tells_no_version(self) -> bool:
        """Whether the board's options leave it without a way to tell which version it runs."""
        return bool(self._options.how_version_is_told)

    @property
    def _options(self) -> Options:
        return self.driver.options.model_validate(dict(self.plan.options))

    def open_session(self, *, trace: bool = False) -> Session:
        """The driver's session with the board, not connected yet. `trace` asks for every packet in the log."""
        plan = self.plan
        link = Link(
            port=plan.port,
            baudrate=plan.baudrate,
            flash_baudrate=plan.flash_baudrate,
            trace=trace,
            chip=plan.chip,
            options=self._options,
            mount_point=plan.mount_point,
            usb=plan.usb,
            connect_timeout_s=plan.connect_timeout_s,
            read_timeout_s=plan.read_timeout_s,
            untouched=not (self.touched or plan.left_by),
            version=self.version,
        )
        return self.driver.open(link, self.log)

    def _tell(self, kind: Kind, **data: object) -> None:
        """Journal what is or was, not what is to come: a full disk must not stop a write half-way, or a rollback."""
        try:
            self._journal.write(kind, **data)
        except OSError as error:
            self.journal_fault = self.journal_fault or f"the journal could not be written: {error}"

    def start(self, worker: str, *, restoring: bool = False) -> None:
        """Raises `OSError` where the journal can not be written: then nothing is begun."""
        self._journal.write(
            Kind.STARTED,
            device_id=self.device_id,
            device_type=self.plan.device_type,
            port=self.plan.place,
            wanted_version=self.version,
            pid=os.getpid(),
            worker=worker,
            restoring=restoring,
        )

    def begin_attempt(self, baud: int) -> None:
        self.attempt += 1
        self._tell(Kind.ATTEMPT, number=self.attempt, baud=baud)

    def identified(self, identity: Identity) -> None:
        self.identity = identity
        self._tell(Kind.IDENTIFIED, **vars(identity))

    def tell_version(self, which: str, version: str | None) -> None:
        if which == "before":
            self.version_before = version
        self._tell(Kind.VERSION, which=which, version=version)

    def will_retry(self, pause_s: float, error: DeviceError) -> None:
        self._tell(
            Kind.RETRY, attempt=self.attempt, wait_s=round(pause_s, 3), error=error_record(error, None).as_json()
        )

    def log(self, line: str, level: LogLevel = LogLevel.INFO) -> None:
        """Add a line to the device's log, which the reports show, unless the site's `log_level` is above `level`."""
        if level.severity >= self._log_level.severity:
            self._tell(Kind.LOG, text=line)

    def heard(self, text: str) -> None:
        self._tell(Kind.CONSOLE, text=text)

    def progress(self, done: int, total: int) -> None:
        now = time.monotonic()
        if done < total and now - self._last_progress < _PROGRESS_EVERY_S:
            return
        self._last_progress = now
        self._tell(Kind.PROGRESS, done=done, total=total)

    @contextmanager
    def phase(self, phase: Phase, limit_s: float) -> Iterator[PhaseNotes]:
        """Journal a phase around the block, within its time limit. Errors are journaled and go on."""
        notes = PhaseNotes()
        # Before, on disk, or not at all. A rollback goes on without: the journal says already that a write was begun.
        announce = self._tell if phase is Phase.ROLLBACK else self._journal.write
        announce(Kind.PHASE_STARTED, phase=phase, attempt=self.attempt)
        try:
            with limit(limit_s, f"the {phase} phase"):
                yield notes
        except BaseException as error:
            # Whatever it was, the journal must say that the phase is over; the error itself goes on.
            self._phase_ended(phase, PhaseOutcome.FAILED, notes, error_record(as_device_error(error), phase))
            raise
        outcome = PhaseOutcome.SKIPPED if notes.skipped else PhaseOutcome.PASSED
        self._phase_ended(phase, outcome, notes, None)

    def _phase_ended(self, phase: Phase, outcome: PhaseOutcome, notes: PhaseNotes, error: ErrorRecord | None) -> None:
        self._tell(
            Kind.PHASE_ENDED,
            phase=phase,
            attempt=self.attempt,
            outcome=outcome,
            detail=notes.detail,
            figures=notes.figures,
            error=error.as_json() if error else None,
        )

    def end(self, ending: Ending) -> Mapping[str, object]:
        """Journal the device's end; what was journaled, for the report to carry to the controller."""
        said: dict[str, object] = {
            "outcome": str(ending.outcome),  # plain types: xdist aborts the session over anything else
            "error": ending.error.as_json() if ending.error else None,
            "reason": ending.reason or self.journal_fault,
        }
        self._tell(Kind.ENDED, **said)
        return said


def as_device_error(error: BaseException) -> DeviceError:
    """The error as one of the family, the original as its cause."""
    if isinstance(error, DeviceError):
        return error
    if isinstance(error, LimitReached):
        return error.as_timeout()
    fault = HarnessFault(f"{type(error).__name__}: {error}")
    fault.__cause__ = error
    return fault


def error_record(error: DeviceError, phase: Phase | None) -> ErrorRecord:
    return ErrorRecord(error.category, type(error).__name__, error.message, error.advice, phase)
