"""`batch-flash quarantine`: the devices that runs skip because they failed too often, and how they come back."""

from __future__ import annotations

import getpass
import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path

import click

from harness.commands.at_ledger import NOTHING_FOUND, ledger_at
from harness.commands.options import site_option
from harness.commands.table import show


@click.group()
def quarantine() -> None:
    """Devices that runs skip because they failed too often."""


@quarantine.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; times in seconds since the epoch.")
@site_option
def list_(as_json: bool, site: Path | None) -> None:
    """List the devices in quarantine, those that are in it longest first.

    Exit status 0, also when there is none; 4 when the ledger can not be used.
    """
    with ledger_at(site) as ledger:
        entries = ledger.quarantined().values()
    if as_json:
        click.echo(json.dumps([asdict(entry) for entry in entries], indent=1))
    elif entries:
        show(("device", "by run", "why"), ((entry.device_id, entry.run_id, entry.reason) for entry in entries))
    else:
        click.echo("no device is in quarantine")


@quarantine.command()
@click.argument("devices", nargs=-1, required=True, metavar="DEVICE...")
@site_option
def release(devices: tuple[str, ...], site: Path | None) -> None:
    """Let runs work on DEVICE... again; failures until now no longer count.

    Exit status 0 when all were released, 1 when one was not in quarantine, 4 when the ledger can not be used.
    """
    with ledger_at(site) as ledger:
        released = {device: ledger.release(device, _user(), time.time()) for device in dict.fromkeys(devices)}
    for device, was_in in released.items():
        click.echo(f"{device}: released" if was_in else f"{device}: is not in quarantine", err=not was_in)
    if not all(released.values()):
        sys.exit(NOTHING_FOUND)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name; an OSError from Python 3.13 on
        return f"uid {os.getuid()}"
