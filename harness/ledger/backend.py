"""What a kind of database has to do for a ledger; one module each: `sqlite.py`, `postgresql.py`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from sqlalchemy import Connection, Engine


class Backend(Protocol):
    """A database that holds a ledger, or will. Writers take turns, and wait for each other; readers wait for nobody
    and see the ledger as it was at one moment.
    """

    name: str
    """For messages: never with a password."""
    reads: Engine
    writes: Engine

    def advise(self, error: BaseException) -> str:
        """What a user can do about an error of the driver or of a file, in words."""

    def exists(self) -> bool:
        """Whether there is something to connect to; False only where that is certain. Makes nothing."""

    def is_ready(self, connection: Connection) -> bool:
        """Whether the database itself is set up as `preparing` leaves it."""

    def preparing(self) -> AbstractContextManager[None]:
        """While the tables are made or changed: what must hold before a transaction can begin."""
