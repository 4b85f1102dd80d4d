"""Journals as a run leaves them, told event by event at times of our choice, and the records that they fold into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from drivers.base import Category
from harness.journal import Journal, Kind, read
from harness.record import DeviceRecord, ErrorRecord, Outcome, Phase, PhaseOutcome, RunRecord, fold, settle

EPOCH = 1_790_000_000.0
"""When every told run begins, in seconds since the epoch."""

LOST = ErrorRecord(
    Category.CONNECTION, "ConnectionLost", "No serial data received.", "Check the cable and the board's power."
)
BAD = ErrorRecord(
    Category.VERIFICATION,
    "VerificationFailed",
    "the flash at 0x10000 does not hold app.bin",
    "What is in flash differs from the image.",
    Phase.VERIFY,
)


class Story:
    """One device's journal, written as the harness writes it; each method is something that happened to the device."""

    def __init__(
        self, folder: Path, device_id: str = "ESP32_001", device_type: str = "esp32", now: float = EPOCH
    ) -> None:
        self.device_id = device_id
        self.device_type = device_type
        self.port = f"/dev/ttyUSB{device_id[-1]}"
        self.path = folder / f"{device_id}.jsonl"
        self.now = now
        self._attempt = 0
        self._journal = Journal(self.path, clock=lambda: self.now)

    def tell(self, kind: Kind, **data: Any) -> Self:
        self._journal.write(kind, **data)
        return self

    def after(self, seconds: float) -> Self:
        self.now += seconds
        return self

    def begins_again(self, *, restoring: bool = False) -> Self:
        """After it ended: in a resumed run, or to be taken back."""
        self._journal = Journal(self.path, clock=lambda: self.now)
        return self.starts(restoring=restoring)

    def starts(self, worker: str = "gw0", *, restoring: bool = False) -> Self:
        return self.tell(
            Kind.STARTED,
            device_id=self.device_id,
            device_type=self.device_type,
            port=self.port,
            wanted_version="1.2.0",
            pid=4711,
            worker=worker,
            restoring=restoring,
        ).phase(Phase.LOCK, 0.01)

    def attempt(self, baud: int = 921600) -> Self:
        self._attempt += 1
        return self.tell(Kind.ATTEMPT, number=self._attempt, baud=baud)

    def identified(self) -> Self:
        self.phase_starts(Phase.IDENTIFY).after(0.6)
        serial = f"24:6f:28:00:00:{self.device_id[-2:]}"
        self.tell(Kind.IDENTIFIED, chip="ESP32-D0WD-V3", revision="v3.1", serial=serial, flash_size=4 << 20)
        self.tell(Kind.VERSION, which="before", version="1.1.0")
        return self.phase_ends(Phase.IDENTIFY)

    def phase(self, phase: Phase, seconds: float = 1.0, **ending: Any) -> Self:
        return self.phase_starts(phase).after(seconds).phase_ends(phase, **ending)

    def phase_starts(self, phase: Phase) -> Self:
        return self.tell(Kind.PHASE_STARTED, phase=phase, attempt=self._attempt)

    def phase_ends(
        self,
        phase: Phase,
        outcome: PhaseOutcome = PhaseOutcome.PASSED,
        error: ErrorRecord | None = None,
        **figures: Any,
    ) -> Self:
        return self.tell(
            Kind.PHASE_ENDED,
            phase=phase,
            attempt=self._attempt,
            outcome=PhaseOutcome.FAILED if error else outcome,
            detail="",
            figures=figures,
            error=error.as_json() if error else None,
        )

    def flashed(self, seconds: float = 10.0, size: int = 1 << 20) -> Self:
        self.phase_starts(Phase.FLASH)
        for step in range(1, 5):
            self.after(seconds / 4).tell(Kind.PROGRESS, done=size * step // 4, total=size)
        return self.phase_ends(Phase.FLASH, bytes=size)

    def retries(self, error: ErrorRecord = LOST, wait_s: float = 2.0) -> Self:
        return self.tell(Kind.RETRY, attempt=self._attempt, wait_s=wait_s, error=error.as_json()).after(wait_s)

    def boots(self, version: str = "1.2.0") -> Self:
        self.phase_starts(Phase.BOOT).after(0.8).tell(Kind.CONSOLE, text=f"app: demo {version}\r\n")
        return self.tell(Kind.VERSION, which="after", version=version).phase_ends(Phase.BOOT)

    def ends(self, outcome: Outcome, error: ErrorRecord | None = None, reason: str = "") -> Self:
        self.tell(Kind.ENDED, outcome=outcome, error=error.as_json() if error else None, reason=reason)
        self._journal.close()
        return self

    def record(self) -> DeviceRecord:
        return fold(DeviceRecord(self.device_id, self.device_type, self.port, "1.2.0"), read(self.path))


def updated(folder: Path, device_id: str = "ESP32_001", flash_s: float = 10.0, now: float = EPOCH) -> Story:
    story = Story(folder, device_id, now=now).starts().attempt().identified().phase(Phase.BACKUP, 4.0, bytes=4 << 20)
    return story.flashed(flash_s).phase(Phase.VERIFY, 1.0).boots().ends(Outcome.UPDATED)


def retried(folder: Path, device_id: str = "ESP32_002") -> Story:
    """Updated on the second attempt, at a lower rate."""
    story = Story(folder, device_id).starts().attempt().identified().phase(Phase.BACKUP, 4.0, bytes=4 << 20)
    story.phase(Phase.FLASH, 3.0, error=replace(LOST, phase=Phase.FLASH)).retries()
    story.attempt(460800).identified().flashed(20.0).phase(Phase.VERIFY, 1.0).boots()
    return story.ends(Outcome.UPDATED)


def unchanged(folder: Path, device_id: str = "ESP32_003") -> Story:
    story = Story(folder, device_id).starts().attempt().identified().phase(Phase.BACKUP, 1.0)
    story.phase(Phase.FLASH, 0.1, outcome=PhaseOutcome.SKIPPED)
    return story.phase(Phase.VERIFY, 1.0).boots().ends(Outcome.UNCHANGED)


def rolled_back(folder: Path, device_id: str = "ESP32_004", error: ErrorRecord = BAD, now: float = EPOCH) -> Story:
    story = Story(folder, device_id, now=now).starts().attempt().identified().phase(Phase.BACKUP, 4.0, bytes=4 << 20)
    story.flashed().phase(Phase.VERIFY, 1.0, error=error).phase(Phase.ROLLBACK, 6.0, bytes=1 << 20)
    return story.tell(Kind.VERSION, which="after", version="1.1.0").ends(Outcome.ROLLED_BACK, error)


def restored(folder: Path, device_id: str = "ESP32_001", now: float = EPOCH, pause_s: float = 60.0) -> Story:
    """Updated, and taken back after a pause."""
    story = updated(folder, device_id, now=now).after(pause_s).begins_again(restoring=True)
    story.phase(Phase.ROLLBACK, 6.0, bytes=1 << 20).tell(Kind.VERSION, which="after", version="1.1.0")
    return story.ends(Outcome.RESTORED)


def not_restored(folder: Path, device_id: str = "ESP32_002", now: float = EPOCH) -> Story:
    """Updated, and then not to be reached when it was to be taken back."""
    story = updated(folder, device_id, now=now).after(60.0).begins_again(restoring=True)
    return story.ends(Outcome.UPDATED, LOST, f"not restored: {LOST.message}")


def untouched(folder: Path, device_id: str = "ESP32_005", error: ErrorRecord = LOST) -> Story:
    error = replace(error, phase=Phase.IDENTIFY)
    story = Story(folder, device_id).starts().attempt().phase(Phase.IDENTIFY, 5.0, error=error).retries(error)
    return story.attempt(460800).phase(Phase.IDENTIFY, 5.0, error=error).ends(Outcome.UNTOUCHED, error)


def emergency(folder: Path, device_id: str = "ESP32_006") -> Story:
    story = Story(folder, device_id).starts().attempt().identified().phase(Phase.BACKUP, 4.0, bytes=4 << 20)
    story.flashed().phase(Phase.VERIFY, 1.0, error=BAD).phase(Phase.ROLLBACK, 6.0, error=LOST)
    return story.ends(Outcome.EMERGENCY, BAD, "the rollback failed: No serial data received.")


def died_while_flashing(folder: Path, device_id: str = "ESP32_007") -> DeviceRecord:
    story = Story(folder, device_id).starts().attempt().identified().phase(Phase.BACKUP, 4.0)
    story.phase_starts(Phase.FLASH).after(2.0).tell(Kind.PROGRESS, done=4096, total=1 << 20)
    return settle(story.record(), "its worker process died", story.now)


def not_run(device_id: str = "ESP32_008", reason: str = "the run was interrupted") -> DeviceRecord:
    return settle(DeviceRecord(device_id, "esp32", "/dev/ttyUSB8", "1.2.0"), reason)


def run_of(devices: Sequence[DeviceRecord], **changes: Any) -> RunRecord:
    run = RunRecord(
        run_id="20260923-101320-fleet-c0de",
        batch_name="Fleet",
        batch_file="batches/fleet.yaml",
        description="Deploy 1.2.0",
        version="1.2.0",
        strategy="parallel",
        started=EPOCH,
        ended=max((device.ended for device in devices if device.ended), default=EPOCH) + 1.0,
        devices=tuple(devices),
    )
    return replace(run, **changes)


def mixed_run(folder: Path) -> RunRecord:
    """One device of each ending."""
    told = [updated(folder), retried(folder), unchanged(folder), rolled_back(folder), untouched(folder)]
    devices = [*(story.record() for story in told), emergency(folder).record()]
    return run_of([*devices, died_while_flashing(folder), not_run()], interrupted="the run was interrupted")
