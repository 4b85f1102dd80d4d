"""What the commands about the history share: where the ledger is, and what to say where it can not be used."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.commands.check import USAGE_ERROR, default_site
from harness.problems import BatchFileError
from harness.site import storage

if TYPE_CHECKING:
    from harness.ledger import Ledger

NOTHING_FOUND = 1
"""Exit status of a command that has nothing to show, or nothing to do, for what it was asked about."""


@contextmanager
def ledger_at(site: Path | None) -> Iterator[Ledger]:
    """The ledger that the site file names; ends the command where it can not be found or used."""
    from harness.ledger import Ledger, LedgerError

    try:
        yield Ledger(storage(site or default_site(), Path.cwd()).ledger, create=False)
    except (BatchFileError, LedgerError) as error:
        click.echo(str(error), err=True)
        sys.exit(USAGE_ERROR)
