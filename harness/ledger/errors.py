"""What goes wrong with a ledger, in one sentence: which ledger, why, and what to do."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy.exc import SQLAlchemyError


class LedgerError(Exception):
    """The ledger can not be read or written; the message says which, why, and what to do."""


@contextmanager
def explained(name: str, advise: Callable[[BaseException], str]) -> Iterator[None]:
    """Every error of the database, its driver and its files as a `LedgerError`; `advise` says what to do about it."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        cause = getattr(error, "orig", None) or error
        raise LedgerError(f"the ledger {name} can not be used: {_line(cause)}; {advise(cause)}") from error
    except ValueError as error:
        advice = "a newer version wrote it, or somebody changed it by hand: update batch-flash"
        raise LedgerError(f"the ledger {name} can not be understood: {_line(error)}; {advice}") from error


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())
