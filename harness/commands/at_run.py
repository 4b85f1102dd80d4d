"""What the commands about a run share: where runs are, and which one is meant."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from harness.commands.check import USAGE_ERROR, default_site
from harness.journal import is_being_written
from harness.problems import BatchFileError
from harness.runs import NoSuchRun, RunFolder, UnreadablePlan, find
from harness.site import storage
from harness.snapshot import Plan


def the_run(name: str, site: Path | None) -> RunFolder:
    """The run of that name; ends the command where there is none, or more than one."""
    try:
        return find(storage(site or default_site(), Path.cwd()).runs_dir, name)
    except BatchFileError as error:
        click.echo(str(error), err=True)
        sys.exit(USAGE_ERROR)
    except (NoSuchRun, OSError) as error:
        click.echo(str(error), err=True)
        sys.exit(1)


def plan_of(folder: RunFolder) -> Plan:
    """A run's plan; ends the command where it can not be read."""
    try:
        return folder.load_plan()
    except UnreadablePlan as error:
        click.echo(str(error), err=True)
        sys.exit(1)


def the_live_run(name: str, site: Path | None) -> RunFolder:
    """The same, for what only a run that is going on can do."""
    folder = the_run(name, site)
    if not is_being_written(folder.run_journal):
        click.echo(f"run {folder.run_id} is not going on: batch-flash status {folder.run_id}", err=True)
        sys.exit(1)
    return folder
