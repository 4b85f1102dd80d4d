"""A ledger in a SQLite file, shared by all runs of a machine."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event

from harness.ledger.errors import LedgerError

BUSY_S = 60.0
"""How long a writer waits for the others, unless the URL says it (`?timeout=`); 1000 devices take about a second."""

_DAMAGED = "if it is damaged, move it away: the next run begins a new one, and the runs' journals are kept"
_FOLDER = "check that the file and its folder can be written to, and that the disk is not full"
_BUSY = "another process holds it: try again, and see what is at work on it"
_ADVICE = {
    sqlite3.SQLITE_BUSY: _BUSY,
    sqlite3.SQLITE_LOCKED: _BUSY,
    sqlite3.SQLITE_CANTOPEN: _FOLDER,
    sqlite3.SQLITE_FULL: _FOLDER,
    sqlite3.SQLITE_IOERR: _FOLDER,
    sqlite3.SQLITE_PERM: _FOLDER,
    sqlite3.SQLITE_READONLY: _FOLDER,
}


class SqliteFile:
    """Written ahead (WAL), so that readers and the writer do not wait for each other."""

    def __init__(self, url: URL) -> None:
        if not url.database or url.database == ":memory:":
            raise LedgerError("a ledger in memory would be forgotten at the end of each run: name a file")
        self._path = Path(url.database)
        self.name = str(self._path)
        told = url.update_query_dict({"timeout": url.query.get("timeout", str(BUSY_S))})
        self.writes = create_engine(told, poolclass=NullPool)
        event.listen(self.writes, "connect", _on_connect)
        event.listen(self.writes, "begin", _on_begin)
        self.reads: Engine = self.writes.execution_options(reads=True)

    def advise(self, error: BaseException) -> str:
        if isinstance(error, Timeout):
            return _BUSY
        if isinstance(error, OSError):
            return _FOLDER
        extended: int = getattr(error, "sqlite_errorcode", 0)
        return _ADVICE.get(extended & 0xFF, _DAMAGED)  # the primary code, https://sqlite.org/rescode.html

    def exists(self) -> bool:
        return self._path.exists()

    def is_ready(self, connection: Connection) -> bool:
        return bool(connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal")

    @contextmanager
    def preparing(self) -> Iterator[None]:
        """SQLite answers "locked" at once, without waiting, when two processes switch a new file to WAL."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        lock = self._path.with_name(self._path.name + ".lock")
        lock.touch()  # fails at once where the folder can not be written to; filelock would wait for it to change
        with FileLock(lock, timeout=BUSY_S):
            self._switch_to_wal()
            yield

    def _switch_to_wal(self) -> None:
        connection = self.writes.raw_connection()  # outside of any transaction, as it has to be
        try:
            connection.cursor().execute("PRAGMA journal_mode = WAL")
        finally:
            connection.close()


def _on_connect(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver begins no transaction of its own: `_on_begin` does
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = NORMAL")


def _on_begin(connection: Connection) -> None:
    """A transaction that reads first and writes later is refused as "locked" without waiting; this one waits."""
    reads = connection.get_execution_options().get("reads", False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
