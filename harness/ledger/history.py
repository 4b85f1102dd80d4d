"""What was done before: runs as a list, and what runs did to one device or on one port."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session, contains_eager, selectinload

from harness.ledger.models import DeviceRow, RunRow
from harness.ledger.rows import device_record
from harness.record import DeviceRecord


@dataclass(frozen=True)
class RunSummary:
    """A run as a list shows it. Times in seconds since the epoch; `ended` is None while it goes on, or was killed."""

    run_id: str
    batch_name: str
    version: str
    started: float
    ended: float | None
    simulated: bool
    rehearsal: bool
    interrupted: str
    halted: str
    """Why its rollout started no further device, in words."""
    total_count: int
    success_count: int
    failure_count: int
    restored_count: int

    @property
    def rest_count(self) -> int:
        """Devices that did not run, or not to their end."""
        return self.total_count - self.success_count - self.failure_count - self.restored_count


@dataclass(frozen=True)
class HistoryEntry:
    """What one run did to a device. `run_started` is in seconds since the epoch."""

    run_id: str
    batch_name: str
    run_started: float
    rehearsal: bool
    wave: int | None
    device: DeviceRecord


def runs(session: Session, limit: int | None) -> list[RunSummary]:
    """The newest first."""
    query = select(
        RunRow.run_id,
        RunRow.batch_name,
        RunRow.version,
        RunRow.started,
        RunRow.ended,
        RunRow.simulated,
        RunRow.rehearsal,
        RunRow.interrupted,
        func.coalesce(RunRow.rollout["halted"].as_string(), "").label("halted"),
        RunRow.total_count,
        RunRow.success_count,
        RunRow.failure_count,
        RunRow.restored_count,
    )
    newest_first = query.order_by(RunRow.started.desc(), RunRow.run_id.desc()).limit(limit)
    return [RunSummary(**row) for row in session.execute(newest_first).mappings()]


def of_device(session: Session, device_id: str, limit: int | None) -> list[HistoryEntry]:
    return _entries(session, DeviceRow.device_id == device_id, limit)


def of_port(session: Session, port: str, limit: int | None) -> list[HistoryEntry]:
    return _entries(session, DeviceRow.port == port, limit)


def _entries(session: Session, wanted: ColumnElement[bool], limit: int | None) -> list[HistoryEntry]:
    """The newest first."""
    query = (
        select(DeviceRow)
        .join(DeviceRow.run)
        .where(wanted)
        .order_by(RunRow.started.desc(), RunRow.run_id.desc(), DeviceRow.position)
        .limit(limit)
        .options(contains_eager(DeviceRow.run), selectinload(DeviceRow.attempts), selectinload(DeviceRow.phases))
    )
    return [_entry(row) for row in session.scalars(query)]


def _entry(row: DeviceRow) -> HistoryEntry:
    run = row.run
    return HistoryEntry(run.run_id, run.batch_name, run.started, run.rehearsal, row.wave, device_record(row))
