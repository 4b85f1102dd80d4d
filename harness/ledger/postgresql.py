"""A ledger in a PostgreSQL database, shared by all machines of a lab."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine, event

from harness.ledger.errors import LedgerError

_CONNECT_S = 10
_BUSY_S = 60
"""How long a writer waits for the others, unless the server says it."""

_TURN = 0x6261_7463_6866_6C61
"""Of the advisory lock that writers take turns with: "batchfla". Any number that no other program here would take."""

_PATIENCE = f"SELECT set_config('lock_timeout', '{_BUSY_S:d}s', true) WHERE current_setting('lock_timeout') = '0'"

_ADVICE = {
    "42501": "its user must own the ledger's tables, or be allowed to make them: GRANT CREATE ON SCHEMA public TO …",
    "53100": "make room on the database's disk",
    "55P03": "another process holds it: try again, and see what is at work on it",
}
"""By SQLSTATE, https://www.postgresql.org/docs/current/errcodes-appendix.html"""

_CONNECTING = {
    "password": "the password belongs into PGPASSWORD, ~/.pgpass or a service file (?service=NAME)",
    "does not exist": "create the database and its user first; the tables are made by the first run",
}
"""By a sign in the message: what fails while connecting has no SQLSTATE."""


class PostgresServer:
    """Writers take turns with an advisory lock, so that what one has read is still true when it writes."""

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

    def advise(self, error: BaseException) -> str:
        state = getattr(error, "sqlstate", None)
        if state:
            return _ADVICE.get(state, "check that its tables are a ledger's, and whole")
        words = next((words for sign, words in _CONNECTING.items() if sign in str(error)), "")
        return words or "check that the server runs, and that it may be reached from here"

    def exists(self) -> bool:
        return True

    def is_ready(self, connection: Connection) -> bool:  # noqa: ARG002 — a server needs no setting of ours
        return True

    def preparing(self) -> AbstractContextManager[None]:
        return nullcontext()  # a migration is a write as any other, and one transaction


def _on_begin(connection: Connection) -> None:
    if connection.get_execution_options().get("reads", False):
        return
    connection.exec_driver_sql(_PATIENCE)
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_TURN:d})")
