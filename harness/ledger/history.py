"""What was done before: runs as a list, and what runs did to one device or on one port."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, func, select, true
from sqlalchemy.orm import Session, contains_eager, selectinload

from harness.ledger.models import DeviceRow, RunRow
from harness.ledger.rows import device_record
from harness.record import DeviceRecord, Outcome


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


@dataclass(frozen=True)
class Standing:
    """How the newest run that worked on a device has left it. `run_started` is in seconds since the epoch."""

    run_id: str
    run_started: float
    outcome: Outcome


_UNTOLD = (str(Outcome.NOT_RUN), str(Outcome.RUNNING))


def standing(session: Session, device_ids: Iterable[str]) -> dict[str, Standing]:
    """Of each device that any run has worked on, rehearsals aside."""
    age = func.row_number().over(
        partition_by=DeviceRow.device_id, order_by=(RunRow.started.desc(), RunRow.run_id.desc())
    )
    told = (
        select(DeviceRow.device_id, RunRow.run_id, RunRow.started, DeviceRow.outcome, age.label("age"))
        .join(DeviceRow.run)
        .where(
            DeviceRow.device_id.in_(list(device_ids)),
            RunRow.rehearsal.is_(False),
            DeviceRow.outcome.not_in(_UNTOLD),
        )
        .subquery()
    )
    newest = select(told.c.device_id, told.c.run_id, told.c.started, told.c.outcome).where(told.c.age == 1)
    return {
        device_id: Standing(run_id, started, Outcome(outcome))
        for device_id, run_id, started, outcome in session.execute(newest)
    }


_WRITTEN = tuple(
    str(outcome) for outcome in (Outcome.UPDATED, Outcome.ROLLED_BACK, Outcome.RESTORED, Outcome.EMERGENCY)
)


def written_since(session: Session, device_ids: Iterable[str], run_id: str) -> dict[str, str]:
    """Which of these devices a run later than `run_id` has written to, and the newest such run; rehearsals aside."""
    began = select(RunRow.started).where(RunRow.run_id == run_id).scalar_subquery()
    later = (
        select(DeviceRow.device_id, RunRow.run_id)
        .join(DeviceRow.run)
        .where(
            DeviceRow.device_id.in_(list(device_ids)),
            DeviceRow.outcome.in_(_WRITTEN),
            RunRow.started > began,
            RunRow.rehearsal.is_(False),
        )
        .order_by(RunRow.started)
    )
    return {row.device_id: row.run_id for row in session.execute(later)}


def device_ids(session: Session, serials: Iterable[str]) -> dict[str, str]:
    """What the newest run called the board with each of these serial numbers or MACs, rehearsals aside."""
    query = (
        select(DeviceRow.serial, DeviceRow.device_id)
        .join(DeviceRow.run)
        .where(DeviceRow.serial.in_(list(serials)), RunRow.rehearsal.is_(False))
        .order_by(RunRow.started, RunRow.run_id, DeviceRow.position)
    )
    return {serial: device_id for serial, device_id in session.execute(query) if serial}


def runs(session: Session, limit: int | None) -> list[RunSummary]:
    """The newest first."""
    return _summaries(session, true(), limit)


def unended(session: Session) -> list[RunSummary]:
    """The runs that go on, or were killed; the oldest first, rehearsals aside."""
    return _summaries(session, and_(RunRow.ended.is_(None), RunRow.rehearsal.is_(False)), None)[::-1]


def _summaries(session: Session, wanted: ColumnElement[bool], limit: int | None) -> list[RunSummary]:
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
    newest_first = query.where(wanted).order_by(RunRow.started.desc(), RunRow.run_id.desc()).limit(limit)
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
