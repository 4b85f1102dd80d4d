"""The ledger's one door. Several runs share it; each record is one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import delete
from sqlalchemy.orm import Session

from harness.ledger import history, quarantine, schema
from harness.ledger.address import backend_of
from harness.ledger.errors import LedgerError, explained
from harness.ledger.history import HistoryEntry, RunSummary, Standing
from harness.ledger.models import RunRow
from harness.ledger.quarantine import QuarantineEntry
from harness.ledger.rows import run_record, run_row
from harness.record import RunRecord


class Ledger:
    """History in a SQLite file or another database; every method raises `LedgerError`.

    Opening it makes its tables, or brings them up to this version. With `create=False` a ledger that is not there is
    an error: a question must not leave an empty one behind. Between calls no connection is held.
    """

    def __init__(self, address: Path | str, *, create: bool = True) -> None:
        self._backend = backend_of(address)
        with explained(self._backend.name, self._backend.advise):
            if not self._is_current():
                self._prepare(create)

    def record(self, run: RunRecord) -> None:
        """Write a run as it is now; a run that is there already is replaced, so a run may be recorded as it goes on."""
        with self._writing() as session:
            session.execute(delete(RunRow).where(RunRow.run_id == run.run_id))
            session.add(run_row(run))

    def runs(self, limit: int | None = None) -> list[RunSummary]:
        """The runs, the newest first."""
        with self._reading() as session:
            return history.runs(session, limit)

    def unended(self) -> list[RunSummary]:
        """The runs that go on, or were killed and not resumed; the oldest first, rehearsals aside."""
        with self._reading() as session:
            return history.unended(session)

    def standing(self, device_ids: Iterable[str]) -> dict[str, Standing]:
        """How the newest run that worked on each of these devices has left it, rehearsals aside."""
        with self._reading() as session:
            return history.standing(session, device_ids)

    def written_since(self, device_ids: Iterable[str], run_id: str) -> dict[str, str]:
        """Which of these devices a run later than `run_id` has written to, and the newest such; rehearsals aside."""
        with self._reading() as session:
            return history.written_since(session, device_ids, run_id)

    def device_ids(self, serials: Iterable[str]) -> dict[str, str]:
        """What the newest run called the board with each of these serial numbers or MACs, rehearsals aside."""
        with self._reading() as session:
            return history.device_ids(session, serials)

    def run(self, run_id: str) -> RunRecord | None:
        """A run with all that is kept of its devices: everything but log and console. None when it is not known."""
        with self._reading() as session:
            row = session.get(RunRow, run_id)
            return run_record(row) if row else None

    def device_history(self, device_id: str, limit: int | None = None) -> list[HistoryEntry]:
        """What the runs did to a device, the newest first."""
        with self._reading() as session:
            return history.of_device(session, device_id, limit)

    def port_history(self, port: str, limit: int | None = None) -> list[HistoryEntry]:
        """What the runs did to the devices on a port, the newest first."""
        with self._reading() as session:
            return history.of_port(session, port, limit)

    def quarantined(self) -> dict[str, QuarantineEntry]:
        """The devices that are to be skipped, by their id."""
        with self._reading() as session:
            return quarantine.entries(session)

    def quarantine(self, device_id: str, run_id: str, reason: str, at: float) -> bool:
        """Have a device skipped from now on. False, and nothing is changed, where it is in quarantine already."""
        with self._writing() as session:
            return quarantine.add(session, QuarantineEntry(device_id, at, run_id, reason))

    def release(self, device_id: str, by: str, at: float) -> bool:
        """Let a device take part again, its failures until now forgiven. False where it is not in quarantine."""
        with self._writing() as session:
            return quarantine.release(session, device_id, by, at)

    def update_quarantine(self, run: RunRecord, after: int) -> list[QuarantineEntry]:
        """At the end of a run: quarantine those of its devices that have now failed in `after` runs in a row.

        Devices that did not run or were restored neither count nor reset, nor do errors that say nothing of the
        board; rehearsals and runs that began before a device's last release do not count. With 0, nothing is ever
        quarantined. Returns the new ones.
        """
        if after == 0 or run.rehearsal:
            return []
        with self._writing() as session:
            return quarantine.update(session, run, after)

    def _is_current(self) -> bool:
        if not self._backend.exists():
            return False
        with self._backend.reads.begin() as connection:
            return self._backend.is_ready(connection) and schema.revision_of(connection) == schema.REVISION

    def _prepare(self, create: bool) -> None:
        if not create and not self._is_there():
            raise LedgerError(f"there is no ledger at {self._backend.name} yet: the first run makes it")
        with self._backend.preparing(), self._backend.writes.begin() as connection:
            schema.upgrade(connection, self._backend.name)

    def _is_there(self) -> bool:
        if not self._backend.exists():
            return False
        with self._backend.reads.begin() as connection:
            return not schema.is_empty(connection)

    @contextmanager
    def _reading(self) -> Iterator[Session]:
        backend = self._backend
        with explained(backend.name, backend.advise), Session(backend.reads) as session, session.begin():
            yield session

    @contextmanager
    def _writing(self) -> Iterator[Session]:
        backend = self._backend
        with explained(backend.name, backend.advise), Session(backend.writes) as session, session.begin():
            yield session
