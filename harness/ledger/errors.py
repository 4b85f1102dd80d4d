"""What goes wrong with a ledger, in one sentence: which ledger, why, and what to do."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from filelock import Timeout
from sqlalchemy.exc import SQLAlchemyError

Advice = Mapping[str, str]
"""What to do, by a sign in the database's own message; the first that is found counts, "" is for all others."""


class LedgerError(Exception):
    """The ledger can not be read or written; the message says which, why, and what to do."""


@contextmanager
def explained(name: str, advice: Advice) -> Iterator[None]:
    """Every error of the database, its driver and its files as a `LedgerError`."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, OSError, Timeout, ValueError) as error:
        cause = " ".join(str(getattr(error, "orig", None) or error).split())
        raise LedgerError(f"the ledger {name} can not be used: {cause}; {_advice(cause, error, advice)}") from error


def _advice(cause: str, error: Exception, advice: Advice) -> str:
    if isinstance(error, ValueError):
        return "its rows do not say what this version of batch-flash can read: update batch-flash"
    return next(words for sign, words in advice.items() if sign in cause.lower())
