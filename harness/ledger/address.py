"""Which database a ledger's address means: a path is a SQLite file, all else a database's URL."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from harness.ledger.backend import Backend
from harness.ledger.errors import LedgerError
from harness.ledger.postgresql import PostgresServer
from harness.ledger.sqlite import SqliteFile
from harness.site import CREDENTIALS_ADVICE, has_password

_BACKENDS: dict[str, type[SqliteFile | PostgresServer]] = {
    "sqlite": SqliteFile,
    "postgresql": PostgresServer,
    "postgresql+psycopg": PostgresServer,
}


def backend_of(address: Path | str) -> Backend:
    """The database at an address; nothing is opened yet. Raises `LedgerError` where an address can not be used."""
    url = _url(str(address))
    backend = _BACKENDS.get(url.drivername)
    if backend is None:
        raise LedgerError(f"a ledger can not be kept in {url.drivername}; these can: {', '.join(_BACKENDS)}")
    return backend(url)


def _url(address: str) -> URL:
    if has_password(address):
        raise LedgerError(f"a password must not stand in the ledger's URL; {CREDENTIALS_ADVICE}")
    if "://" not in address:
        return URL.create("sqlite", database=address)
    try:
        return make_url(address)
    except (ArgumentError, ValueError) as error:
        raise LedgerError(f"{address!r} is neither a path nor a database's URL") from error
