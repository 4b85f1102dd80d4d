"""What the commands about the history share: where the ledger is, and what to say where it can not be used."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from harness.commands.check import USAGE_ERROR, default_site
from harness.config import SITE_FILE
from harness.problems import BatchFileError
from harness.site import storage

if TYPE_CHECKING:
    from harness.ledger import Ledger

F = TypeVar("F", bound=Callable[..., Any])

NOTHING_FOUND = 1
"""Exit status of a command that has nothing to show, or nothing to do, for what it was asked about."""


def site_option(command: F) -> F:
    """`--config`: the site file."""
    return click.option(
        "--config",
        "site",
        type=click.Path(path_type=Path),
        help=f"The site file, which says where the ledger is; by default {SITE_FILE} of this folder, if any.",
    )(command)


def limit_option(command: F) -> F:
    """`--limit`: how many of the newest."""
    return click.option(
        "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Show only so many of the newest."
    )(command)


@contextmanager
def ledger_at(site: Path | None) -> Iterator[Ledger]:
    """The ledger that the site file names; ends the command where it can not be found or used."""
    from harness.ledger import Ledger, LedgerError

    try:
        yield Ledger(storage(site or default_site(), Path.cwd()).ledger, create=False)
    except (BatchFileError, LedgerError) as error:
        click.echo(str(error), err=True)
        sys.exit(USAGE_ERROR)
