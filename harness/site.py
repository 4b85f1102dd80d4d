"""Where a lab keeps its runs, backups and history: the site file alone answers, no batch is needed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from harness.config import Site, Storage
from harness.merge import located
from harness.problems import BatchFileError, Problem
from harness.reading import Reading, read
from harness.tree import Source

_LEDGER = ("storage", "ledger")
# As SQLAlchemy finds them, so that none is overlooked: what is before the last @, and what drivers take as options.
_PASSWORD = re.compile(r"://[^:/]*:[^@]*@|[?&][^=&]*passw(?:or)?d=", re.IGNORECASE)
_SQLITE_FILE = re.compile(r"(sqlite(?:\+\w+)?:///)([^?]+)(.*)")


def storage(site_path: Path | None, home: Path) -> Storage:
    """The site file's `storage` with absolute places; without a site file the built-in ones, under `home`.

    Raises `BatchFileError` where the file can not say: mistakes in other sections stop nobody from looking at a run,
    or from cancelling it.
    """
    site = read(site_path, Site) if site_path else Reading(None, Site())
    problems = [problem for problem in site.problems if problem.place.split(".")[0] in ("", _LEDGER[0])]
    if site.source and site.model:
        problems += ledger_problems(site.model.storage, site.source)
    if site.model is None or problems:
        raise BatchFileError(problems)
    return located_storage(site_path.absolute().parent if site_path else home, site.model.storage)


def located_storage(folder: Path, told: Storage) -> Storage:
    """The places as a file in `folder` means them, absolute."""
    return Storage(
        runs_dir=located(folder, told.runs_dir),
        store_dir=located(folder, told.store_dir),
        ledger=_located_ledger(folder, told.ledger),
    )


def _located_ledger(folder: Path, ledger: str) -> str:
    if "://" not in ledger:
        return str(located(folder, Path(ledger)))
    file = _SQLITE_FILE.fullmatch(ledger)
    return f"{file[1]}{located(folder, Path(file[2]))}{file[3]}" if file else ledger


def ledger_problems(told: Storage, source: Source) -> Iterator[Problem]:
    """What is wrong with the ledger's address, without opening it."""
    if has_password(told.ledger):
        yield source.problem(_LEDGER, "a password must not stand here", CREDENTIALS_ADVICE)


CREDENTIALS_ADVICE = (
    "it would be copied into the folder of each run: leave it out of the URL and put it into PGPASSWORD, ~/.pgpass "
    "or a service file (?service=NAME), or where your database's driver looks for it"
)


def has_password(ledger: str) -> bool:
    """Whether a database's URL has a password in it, as `user:password@` or as an option."""
    return _PASSWORD.search(ledger) is not None
