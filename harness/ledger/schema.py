"""Whether a ledger's tables are those of this version, and the way there: Alembic is imported only to go it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, inspect

from harness.ledger.errors import LedgerError

if TYPE_CHECKING:
    from alembic.config import Config

REVISION: Final = "0002"
"""The newest of `migrations/versions`."""

_FIRST: Final = "0001"
_BEFORE_MIGRATIONS: Final = 1
"""`PRAGMA user_version` of SQLite files from before there were migrations; their tables are `_FIRST`'s."""


def revision_of(connection: Connection) -> str | None:
    """What the tables are; None where there are none, or none that a migration has made."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return found


def is_empty(connection: Connection) -> bool:
    return not inspect(connection).has_table("runs")


def upgrade(connection: Connection, name: str) -> None:
    """Make or change the tables in the connection's transaction, which nobody else may write in meanwhile.

    `name` is the ledger's. Raises `LedgerError` for a ledger of a newer version, which is left as it is.
    """
    found = revision_of(connection)
    if found == REVISION:  # another process was faster
        return
    from alembic import command
    from alembic.script import ScriptDirectory

    config = _config(connection)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    unmigrated = _user_version(connection) if found is None else 0
    if found not in {None, *known} or unmigrated > _BEFORE_MIGRATIONS:
        raise LedgerError(f"the ledger {name} was written by a newer version: update batch-flash")
    if unmigrated == _BEFORE_MIGRATIONS:
        command.stamp(config, _FIRST)
    elif found is None and not is_empty(connection):
        raise LedgerError(f"{name} is no ledger: it has a table `runs` of something else; choose another place")
    command.upgrade(config, "head")


def _config(connection: Connection) -> Config:
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", "harness.ledger:migrations")
    return config


def _user_version(connection: Connection) -> int:
    if connection.dialect.name != "sqlite":
        return 0
    return int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
