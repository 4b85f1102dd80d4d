"""`batch-flash history`: what the runs did to one device, or on one port."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.commands.at_ledger import NOTHING_FOUND, ledger_at
from harness.commands.options import limit_option, site_option
from harness.commands.table import Cell, Part, show
from harness.report import words

if TYPE_CHECKING:
    from harness.ledger import HistoryEntry


@click.command()
@click.argument("device", required=False)
@click.option("--port", help="In place of DEVICE: all devices on this port, as the runs named it.")
@limit_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON; times in seconds since the epoch.")
@site_option
def history(device: str | None, port: str | None, limit: int, as_json: bool, site: Path | None) -> None:
    """Show what the runs did to DEVICE, the newest first.

    Exit status 0 when there was anything, 1 when nothing is known of the device or port, 4 when the ledger can not be
    used.
    """
    if (device is None) == (port is None):
        raise click.UsageError("give a DEVICE or a --port")
    with ledger_at(site) as ledger:
        entries = ledger.port_history(port, limit) if port else ledger.device_history(device or "", limit)
    if as_json:
        click.echo(json.dumps([_as_json(entry) for entry in entries], indent=1))
    elif entries:
        other = "device" if port else "port"
        show(("run", other, "firmware", "#time", "outcome"), (_row(entry, other) for entry in entries))
    if not entries:
        click.echo(f"no run is known of {device or port}", err=True)
        sys.exit(NOTHING_FOUND)


def _row(entry: HistoryEntry, other: str) -> tuple[Cell, ...]:
    device = entry.device
    seconds = words.duration(device.seconds)
    where = device.device_id if other == "device" else device.port
    return entry.run_id, where, words.versions(device), seconds, tuple(_ending(entry))


def _ending(entry: HistoryEntry) -> Iterator[Part]:
    device = entry.device
    outcome = device.outcome
    yield Part(words.OUTCOME_WORDS[outcome], "green" if outcome.succeeded else "red" if outcome.failed else "yellow")
    if entry.rehearsal:
        yield Part("a rehearsal", "cyan")
    if len(device.attempts) > 1:
        yield Part(f"{len(device.attempts)} attempts")
    if cause := words.cause(device):
        yield Part(cause)


def _as_json(entry: HistoryEntry) -> dict[str, Any]:
    device = entry.device
    return {
        "run_id": entry.run_id,
        "batch_name": entry.batch_name,
        "run_started": entry.run_started,
        "rehearsal": entry.rehearsal,
        "wave": entry.wave,
        "device_id": device.device_id,
        "device_type": device.device_type,
        "port": device.port,
        "outcome": str(device.outcome),
        "update_outcome": str(device.update_outcome),
        "serial": device.identity.serial if device.identity else None,
        "version_wanted": device.wanted_version,
        "version_before": device.version_before,
        "version_after": device.version_after,
        "started": device.started,
        "ended": device.ended,
        "attempts": len(device.attempts),
        "reason": device.reason or None,
        "error": device.error.as_json() if device.error else None,
    }
