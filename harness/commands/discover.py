"""`batch-flash discover`: which boards are there, and what a batch has to say to reach them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import click

from drivers.base import UnknownDeviceType
from harness.commands.at_ledger import NOTHING_FOUND
from harness.commands.check import default_site
from harness.commands.options import site_option
from harness.commands.table import Cell, Part, show
from harness.discovery import Found, Places, Probe, Status, discover
from harness.discovery.as_json import as_json
from harness.discovery.as_yaml import as_yaml

_NOTHING = (
    "no board was found: plug one in and look whether `dmesg` sees it; name the folder of a boot drive with --drive; "
    "or start virtual boards with `batch-flash bench`"
)
_STATUS_STYLES = {
    Status.AVAILABLE: "green",
    Status.IN_USE: "yellow",
    Status.NO_PERMISSION: "red",
    Status.NO_ANSWER: "red",
}


@click.command("discover")
@click.option("--device-type", metavar="TYPE", help="Only boards that are of this type, or may be.")
@click.option("--json", "form", flag_value="json", help="Print JSON, as GET /api/devices/discover answers.")
@click.option("--yaml", "form", flag_value="yaml", help="Print targets, to be pasted into a batch.")
@click.option(
    "--probe", is_flag=True, help="Ask each board who it is. Nothing is written, but serial boards are reset."
)
@click.option(
    "--timeout",
    "seconds",
    type=click.FloatRange(min=0.1),
    metavar="SECONDS",
    help="How long to listen to the network (by default 3), and to wait for each protocol's answer (10).",
)
@click.option(
    "--drive", "drives", multiple=True, type=click.Path(path_type=Path), help="A folder that may be a boot drive."
)
@click.option(
    "--bench",
    "bench_folder",
    type=click.Path(path_type=Path),
    default=Path(".bench"),
    show_default=True,
    help="The folder (--state) of a bench.",
)
@click.option(
    "--interface", "interfaces", multiple=True, metavar="ADDRESS", help="Listen on this address of this machine only."
)
@click.option("--network/--no-network", default=True, help="Listen for boards on the network.", show_default=True)
@site_option
def discover_command(
    device_type: str | None,
    form: str | None,
    probe: bool,
    seconds: float | None,
    drives: tuple[Path, ...],
    bench_folder: Path,
    interfaces: tuple[str, ...],
    network: bool,
    site: Path | None,
) -> None:
    """Find boards on serial ports, drives, the network, a bench.

    A USB bridge says nothing of the board behind it: --probe asks. Exit status 0, 1 when nothing was found.
    """
    places = Places(drives, bench_folder, interfaces, network)
    if seconds:
        places = replace(places, listen_s=seconds)
    asking = (Probe(seconds) if seconds else Probe()) if probe else None
    try:
        found = discover(
            device_type,
            places=places,
            asking=asking,
            known_ids=lambda serials: _known_ids(site, serials),
            tell=lambda line: click.echo(line, err=True),
        )
    except UnknownDeviceType as error:
        raise click.BadParameter(str(error), param_hint="--device-type") from error
    if form == "json":
        click.echo(json.dumps(as_json(found), indent=1))
    elif form == "yaml" and found:
        click.echo(as_yaml(found, type_is_given=device_type is not None), nl=False)
    elif found:
        _show(found, asked=probe)
    if not found:
        click.echo(_NOTHING, err=True)
        sys.exit(NOTHING_FOUND)


def _known_ids(site: Path | None, serials: Iterable[str]) -> Mapping[str, str]:
    """Without a ledger that can be read, boards are named as if they were new."""
    from harness.ledger import Ledger, LedgerError
    from harness.problems import BatchFileError
    from harness.site import storage

    try:
        return Ledger(storage(site or default_site(), Path.cwd()).ledger, create=False).device_ids(serials)
    except (BatchFileError, LedgerError):
        return {}


def _show(found: Sequence[Found], *, asked: bool) -> None:
    """A line for each board; what is to be said of several is said once, below."""
    show(("device", "type", "status", "where"), (_row(board) for board in found))
    notes: dict[str, list[str]] = {}
    for board in found:
        for note in _notes(board):
            notes.setdefault(note, []).append(board.device_id)
    for note, device_ids in notes.items():
        click.echo(f"{', '.join(device_ids)}: {note}")
    if not asked and any(board.candidates for board in found):
        click.echo("--probe asks boards who they are")


def _row(board: Found) -> tuple[Cell, ...]:
    status = (Part(str(board.status), _STATUS_STYLES[board.status]),)
    return board.device_id, _type(board), status, tuple(_where(board))


def _type(board: Found) -> str:
    if board.device_type:
        return board.device_type if board.certain else f"{board.device_type}?"
    return "?" if board.candidates else "-"


def _where(board: Found) -> Iterator[Part]:
    """By its device file, as people know it; batches are given the name that stays."""
    port = board.connection.port
    yield Part(os.path.realpath(port) if port.startswith("/") else str(board.connection))
    if board.name:
        yield Part(board.name, "bold")
    if board.serial:
        yield Part(board.serial)


def _notes(board: Found) -> Iterator[str]:
    if board.candidates:
        yield f"may be {', '.join(board.candidates)}"
    for way in board.others:
        yield f"also at {way.connection}" + (f", as {way.device_type}" if way.device_type else "")
    yield from board.remarks
