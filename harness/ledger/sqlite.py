"""A ledger in a SQLite file, shared by all runs of a machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from filelock import FileLock
from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event

from harness.ledger.errors import Advice, LedgerError

BUSY_S = 60.0
"""How long a writer waits for the others; a record of a thousand devices takes about a second."""

_DAMAGED = "if it is damaged, move it away: the next run begins a new one, and the runs' journals are kept"
_FOLDER = "check that the file and its folder can be written to, and that the disk is not full"
_BUSY = f"another process has held it for {BUSY_S:.0f} s: try again, and see what is at work on it"


class SqliteFile:
    """Written ahead (WAL), so that readers and the writer do not wait for each other."""

    advice: ClassVar[Advice] = {
        "malformed": _DAMAGED,
        "not a database": _DAMAGED,
        "disk i/o": _FOLDER,  # also what a full disk is called, where SQLite can not tell
        "full": _FOLDER,
        "no space": _FOLDER,
        "too large": _FOLDER,
        "unable to open": _FOLDER,
        "readonly": _FOLDER,
        "read-only": _FOLDER,
        "denied": _FOLDER,
        "lock": _BUSY,
        "no such": _DAMAGED,
        "": "check that it is a ledger and that its folder can be written to",
    }

    def __init__(self, url: URL) -> None:
        if not url.database or url.database == ":memory:":
            raise LedgerError("a ledger in memory would be forgotten at the end of each run: name a file")
        self._path = Path(url.database)
        self.name = str(self._path)
        self.writes = create_engine(url, connect_args={"timeout": BUSY_S}, poolclass=NullPool)
        event.listen(self.writes, "connect", _on_connect)
        event.listen(self.writes, "begin", _on_begin)
        self.reads: Engine = self.writes.execution_options(reads=True)

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
