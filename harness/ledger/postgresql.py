"""A ledger in a PostgreSQL database, shared by all machines of a lab."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import ClassVar

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event

from harness.ledger.errors import Advice, LedgerError

_CONNECT_S = 10
_BUSY_S = 60
"""How long a writer waits for the others."""

_TURN = 0x6261_7463_6866_6C61
"""Of the advisory lock that writers take turns with: "batchfla". Any number that no other program here would take."""

_RIGHTS = "its user must own the ledger's tables, or be allowed to make them: GRANT CREATE ON SCHEMA public TO …"
_CREDENTIALS = "the password belongs into PGPASSWORD, ~/.pgpass or a service file (?service=NAME)"


class PostgresServer:
    """Writers take turns with an advisory lock, so that what one has read is still true when it writes."""

    advice: ClassVar[Advice] = {
        "password": _CREDENTIALS,
        "permission denied": _RIGHTS,
        "must be owner": _RIGHTS,
        "lock timeout": f"another process has held it for {_BUSY_S} s: try again, and see what is at work on it",
        "does not exist": "create the database and its user first; the tables are made by the first run",
        "no space": "make room on the database's disk",
        "": "check that the server runs, and that it may be reached from here",
    }

    def __init__(self, url: URL) -> None:
        self.name = url.render_as_string(hide_password=True)
        told = {"connect_timeout": _CONNECT_S, "fallback_application_name": "batch-flash"}
        try:
            self.writes = create_engine(
                url.set(drivername="postgresql+psycopg"),
                connect_args={name: value for name, value in told.items() if name not in url.query},
                poolclass=NullPool,  # a run takes hours and writes twice
            )
        except ModuleNotFoundError as error:
            raise LedgerError(f"the ledger {self.name} needs psycopg: pip install 'batch-flash[postgresql]'") from error
        event.listen(self.writes, "begin", _on_begin)
        self.reads: Engine = self.writes.execution_options(reads=True, isolation_level="REPEATABLE READ")

    def exists(self) -> bool:
        return True

    def is_ready(self, connection: Connection) -> bool:  # noqa: ARG002 — a server needs no setting of ours
        return True

    def preparing(self) -> AbstractContextManager[None]:
        return nullcontext()  # a migration is a write as any other, and one transaction


def _on_begin(connection: Connection) -> None:
    if connection.get_execution_options().get("reads", False):
        return
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_BUSY_S:d}s'")
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_TURN:d})")
