"""Records to rows and back. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from drivers.base import Identity
from harness.ledger.models import AttemptRow, DeviceRow, EventRow, PhaseRow, RunRow
from harness.record import (
    Attempt,
    DeviceRecord,
    ErrorRecord,
    Outcome,
    Phase,
    PhaseOutcome,
    PhaseRecord,
    RunNote,
    RunRecord,
)
from harness.rollout.state import RolloutState


class EventKind(StrEnum):
    NOTE = "note"
    WARNING = "warning"


def run_row(run: RunRecord) -> RunRow:
    return RunRow(
        run_id=run.run_id,
        batch_name=run.batch_name,
        batch_file=run.batch_file,
        description=run.description,
        version=run.version,
        strategy=run.strategy,
        started=run.started,
        ended=run.ended,
        simulated=run.simulated,
        rehearsal=run.rehearsal,
        interrupted=run.interrupted,
        total_count=len(run.devices),
        success_count=sum(device.outcome.succeeded for device in run.devices),
        failure_count=sum(device.outcome.failed for device in run.devices),
        restored_count=len(run.with_outcome(Outcome.RESTORED)),
        rollout=run.rollout.model_dump(mode="json"),
        devices=[_device_row(position, device, run) for position, device in enumerate(run.devices)],
        events=[_event_row(position, note) for position, note in enumerate(run.notes)],
    )


def _event_row(position: int, note: RunNote) -> EventRow:
    kind = EventKind.WARNING if note.loud else EventKind.NOTE
    return EventRow(position=position, at=note.at, kind=str(kind), text=note.text)


def _device_row(position: int, device: DeviceRecord, run: RunRecord) -> DeviceRow:
    identity = device.identity
    return DeviceRow(
        position=position,
        wave=run.rollout.wave_of(device.device_id),
        device_id=device.device_id,
        device_type=device.device_type,
        port=device.port,
        wanted_version=device.wanted_version,
        outcome=str(device.outcome),
        update_outcome=str(device.update_outcome),
        chip=identity.chip if identity else None,
        revision=identity.revision if identity else None,
        serial=identity.serial if identity else None,
        flash_size=identity.flash_size if identity else None,
        version_before=device.version_before,
        version_after=device.version_after,
        error_category=str(device.error.category) if device.error else None,
        error=_error_json(device.error),
        reason=device.reason,
        worker=device.worker,
        started=device.started,
        ended=device.ended,
        attempts=[_attempt_row(at, attempt) for at, attempt in enumerate(device.attempts)],
        phases=[_phase_row(at, phase) for at, phase in enumerate(device.phases)],
    )


def _attempt_row(position: int, attempt: Attempt) -> AttemptRow:
    return AttemptRow(
        position=position,
        number=attempt.number,
        baud=attempt.baud,
        started=attempt.started,
        error=_error_json(attempt.error),
        wait_s=attempt.wait_s,
    )


def _phase_row(position: int, phase: PhaseRecord) -> PhaseRow:
    return PhaseRow(
        position=position,
        phase=str(phase.phase),
        attempt=phase.attempt,
        started=phase.started,
        ended=phase.ended,
        outcome=str(phase.outcome),
        detail=phase.detail,
        figures=dict(phase.figures),
        error=_error_json(phase.error),
    )


def run_record(row: RunRow) -> RunRecord:
    return RunRecord(
        run_id=row.run_id,
        batch_name=row.batch_name,
        batch_file=row.batch_file,
        description=row.description,
        version=row.version,
        strategy=row.strategy,
        started=row.started,
        ended=row.ended,
        devices=tuple(device_record(device) for device in row.devices),
        simulated=row.simulated,
        interrupted=row.interrupted,
        rehearsal=row.rehearsal,
        rollout=RolloutState.model_validate(row.rollout),
        notes=tuple(_note(event) for event in row.events),
    )


def _note(row: EventRow) -> RunNote:
    return RunNote(row.at, row.text, loud=row.kind == EventKind.WARNING)


def device_record(row: DeviceRow) -> DeviceRecord:
    return DeviceRecord(
        device_id=row.device_id,
        device_type=row.device_type,
        port=row.port,
        wanted_version=row.wanted_version,
        outcome=Outcome(row.outcome),
        update_outcome=Outcome(row.update_outcome),
        identity=_identity(row),
        version_before=row.version_before,
        version_after=row.version_after,
        attempts=tuple(_attempt(attempt) for attempt in row.attempts),
        phases=tuple(_phase(phase) for phase in row.phases),
        error=_error(row.error),
        reason=row.reason,
        worker=row.worker,
        started=row.started,
        ended=row.ended,
    )


def _identity(row: DeviceRow) -> Identity | None:
    if row.chip is None:
        return None
    return Identity(row.chip, row.revision or "", row.serial or "", row.flash_size or 0)


def _attempt(row: AttemptRow) -> Attempt:
    return Attempt(row.number, row.baud, row.started, _error(row.error), row.wait_s)


def _phase(row: PhaseRow) -> PhaseRecord:
    return PhaseRecord(
        phase=Phase(row.phase),
        attempt=row.attempt,
        started=row.started,
        ended=row.ended,
        outcome=PhaseOutcome(row.outcome),
        detail=row.detail,
        figures=row.figures,
        error=_error(row.error),
    )


def _error_json(error: ErrorRecord | None) -> dict[str, Any] | None:
    return error.as_json() if error else None


def _error(data: dict[str, Any] | None) -> ErrorRecord | None:
    return ErrorRecord.from_json(data) if data else None
