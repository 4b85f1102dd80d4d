"""The ledger's one door. Several runs on a machine share the file; each record is one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from sqlalchemy import Connection, Engine, create_engine, delete, event, make_url, select
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.orm import Session

from harness.ledger.models import SCHEMA_VERSION, Base, DeviceRow, RunRow
from harness.ledger.rows import device_record, run_record, run_row
from harness.record import DeviceRecord, RunRecord

_BUSY_S = 60.0
"""How long a writer waits for the others; a record of a thousand devices takes well under a second."""


class LedgerError(Exception):
    """The ledger can not be read or written; the message says which, why, and what to do."""


@dataclass(frozen=True)
class RunSummary:
    """A run as a list shows it. Times in seconds since the epoch."""

    run_id: str
    batch_name: str
    version: str
    started: float
    ended: float | None
    simulated: bool
    total_count: int
    success_count: int
    failure_count: int


@dataclass(frozen=True)
class HistoryEntry:
    """What one run did to a device."""

    run_id: str
    run_started: float
    device: DeviceRecord


class Ledger:
    """History over one SQLite file. Opening it makes the file and its tables; raises `LedgerError`."""

    def __init__(self, path_or_url: Path | str) -> None:
        self._name = str(path_or_url)
        with self._explained():
            self._engine = _engine(self._name)
            self._prepare()

    def record(self, run: RunRecord) -> None:
        """Write a run as it is now; a run that is there already is replaced, so a run may be recorded as it goes on."""
        with self._session(writes=True) as session:
            session.execute(delete(RunRow).where(RunRow.run_id == run.run_id))
            session.add(run_row(run))

    def runs(self, limit: int | None = None) -> list[RunSummary]:
        """The runs, the newest first."""
        query = select(RunRow).order_by(RunRow.started.desc(), RunRow.run_id.desc()).limit(limit)
        with self._session() as session:
            return [_summary(row) for row in session.scalars(query)]

    def run(self, run_id: str) -> RunRecord | None:
        """A run with all that is kept of its devices: everything but log and console. None when it is not known."""
        with self._session() as session:
            row = session.get(RunRow, run_id)
            return run_record(row) if row else None

    def device_history(self, device_id: str) -> list[HistoryEntry]:
        """What the runs did to a device, the newest first."""
        query = (
            select(DeviceRow)
            .join(RunRow)
            .where(DeviceRow.device_id == device_id)
            .order_by(RunRow.started.desc(), RunRow.run_id.desc())
        )
        with self._session() as session:
            return [HistoryEntry(row.run_id, row.run.started, device_record(row)) for row in session.scalars(query)]

    def close(self) -> None:
        self._engine.dispose()

    def _prepare(self) -> None:
        database = self._engine.url.database
        if not database or database == ":memory:":
            return self._make_tables()
        # SQLite answers "locked" at once, without waiting, when two processes switch a new file to WAL.
        path = Path(database)
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(path.name + ".lock")
        lock.touch()  # fails at once where the folder can not be written to; filelock would wait for it to change
        with FileLock(lock, timeout=_BUSY_S):
            return self._make_tables()

    def _make_tables(self) -> None:
        with self._engine.connect() as connection:
            found = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
            if found > SCHEMA_VERSION:
                raise LedgerError(f"the ledger {self._name} was written by a newer version: update batch-flash")
            if found < SCHEMA_VERSION:
                Base.metadata.create_all(connection)
                connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION:d}")
            connection.commit()

    @contextmanager
    def _session(self, *, writes: bool = False) -> Iterator[Session]:
        engine = self._engine.execution_options(writes=writes)
        with self._explained(), Session(engine) as session, session.begin():
            yield session

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, OSError, Timeout) as error:
            cause = getattr(error, "orig", None) or error
            hint = (
                "check that the folder can be written to and is not full"
                if _is_access(str(cause))
                else "if it is damaged, move it away: the next run begins a new one, and the runs' journals are kept"
            )
            raise LedgerError(f"the ledger {self._name} can not be used: {cause}; {hint}") from error


def _is_access(message: str) -> bool:
    signs = ("unable to open", "readonly", "read-only", "denied", "disk", "full", "locked", "lock")
    return any(sign in message.lower() for sign in signs)


def _engine(path_or_url: str) -> Engine:
    try:
        url = make_url(path_or_url if "://" in path_or_url else f"sqlite:///{path_or_url}")
        engine = create_engine(url, connect_args={"timeout": _BUSY_S})
    except ArgumentError as error:
        raise LedgerError(f"{path_or_url!r} is neither a path nor a database URL") from error
    if engine.dialect.name != "sqlite":
        raise LedgerError(f"the ledger is a SQLite file; {engine.dialect.name} is not supported")
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    return engine


def _on_connect(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver begins no transaction of its own: `_on_begin` does
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")


def _on_begin(connection: Connection) -> None:
    """A transaction that reads first and writes later is refused as "locked" without waiting; this one waits."""
    writes = connection.get_execution_options().get("writes", True)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _summary(row: RunRow) -> RunSummary:
    return RunSummary(
        run_id=row.run_id,
        batch_name=row.batch_name,
        version=row.version,
        started=row.started,
        ended=row.ended,
        simulated=row.simulated,
        total_count=row.total_count,
        success_count=row.success_count,
        failure_count=row.failure_count,
    )
