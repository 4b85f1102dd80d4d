"""Devices that are skipped because they failed run after run, until a person releases them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import takewhile

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from harness.ledger.models import DeviceRow, QuarantineRow, ReleaseRow, RunRow
from harness.record import SAYS_NOTHING_OF_THE_BOARD, DeviceRecord, Outcome, RunRecord

_TELLING = tuple(str(outcome) for outcome in Outcome if outcome.succeeded or outcome.failed)


@dataclass(frozen=True)
class QuarantineEntry:
    """Since when (seconds since the epoch), by which run and why a device is in quarantine."""

    device_id: str
    since: float
    run_id: str
    reason: str


def entries(session: Session) -> dict[str, QuarantineEntry]:
    """By device; who has been there longest comes first."""
    rows = session.scalars(select(QuarantineRow).order_by(QuarantineRow.since, QuarantineRow.device_id))
    return {row.device_id: QuarantineEntry(row.device_id, row.since, row.run_id, row.reason) for row in rows}


def add(session: Session, entry: QuarantineEntry) -> bool:
    """False, and nothing is changed, where the device is in quarantine already."""
    if session.get(QuarantineRow, entry.device_id) is not None:
        return False
    session.add(
        QuarantineRow(device_id=entry.device_id, since=entry.since, run_id=entry.run_id, reason=entry.reason),
    )
    return True


def release(session: Session, device_id: str, by: str, at: float) -> bool:
    """False, and nothing is changed, where the device is not in quarantine."""
    released = session.scalar(
        delete(QuarantineRow).where(QuarantineRow.device_id == device_id).returning(QuarantineRow.device_id)
    )
    if released is None:
        return False
    session.add(ReleaseRow(device_id=device_id, at=at, released_by=by))
    return True


def update(session: Session, run: RunRecord, after: int) -> list[QuarantineEntry]:
    """Put those of a run's devices into quarantine that have now failed `after` times in a row; these are returned."""
    forgiven = set(session.scalars(select(ReleaseRow.device_id).where(ReleaseRow.at >= run.started)))
    failed = [
        device
        for device in run.devices
        if device.outcome.failed and _is_telling(device) and device.device_id not in forgiven
    ]
    before = _earlier_outcomes(session, run, [device.device_id for device in failed], after)
    at = run.started if run.ended is None else run.ended
    due = [device for device in failed if 1 + streak(before[device.device_id]) >= after]
    return [
        entry
        for device in due
        if add(session, entry := QuarantineEntry(device.device_id, at, run.run_id, _reason(device, after)))
    ]


def streak(outcomes: Iterable[Outcome]) -> int:
    """How many of the outcomes, the newest first, are failures in a row."""
    return sum(1 for _ in takewhile(lambda outcome: outcome.failed, outcomes))


def _is_telling(device: DeviceRecord) -> bool:
    """Whether the outcome says something of the device: a port that another run has, or a full disk, does not."""
    return device.error is None or device.error.kind not in SAYS_NOTHING_OF_THE_BOARD


def _reason(device: DeviceRecord, after: int) -> str:
    last = device.error.message if device.error else device.reason
    return f"failed in {after} runs in a row; the last time: {last}" if after > 1 else f"failed: {last}"


def _earlier_outcomes(
    session: Session, run: RunRecord, device_ids: Iterable[str], after: int
) -> Mapping[str, list[Outcome]]:
    """Of each device the newest outcomes that count, the newest first: no more than `after` of them."""
    released = (
        select(func.max(ReleaseRow.at)).where(ReleaseRow.device_id == DeviceRow.device_id).correlate(DeviceRow)
    ).scalar_subquery()
    newest = func.row_number().over(
        partition_by=DeviceRow.device_id, order_by=(RunRow.started.desc(), RunRow.run_id.desc())
    )
    counted = (
        select(DeviceRow.device_id, DeviceRow.outcome, newest.label("age"))
        .join(DeviceRow.run)
        .where(
            DeviceRow.device_id.in_(device_ids),
            RunRow.run_id != run.run_id,
            RunRow.rehearsal.is_(False),
            DeviceRow.outcome.in_(_TELLING),
            func.coalesce(DeviceRow.error["kind"].as_string(), "").not_in(SAYS_NOTHING_OF_THE_BOARD),
            RunRow.started > func.coalesce(released, 0.0),
        )
        .subquery()
    )
    newest_first = select(counted.c.device_id, counted.c.outcome).where(counted.c.age <= after).order_by(counted.c.age)
    outcomes: dict[str, list[Outcome]] = {device_id: [] for device_id in device_ids}
    for device_id, outcome in session.execute(newest_first):
        outcomes[device_id].append(Outcome(outcome))
    return outcomes
