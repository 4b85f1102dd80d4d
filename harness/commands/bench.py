"""`batch-flash bench`: virtual boards by hand, for any tool that speaks to a serial port."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import click

from drivers.virtual.bench import serve
from drivers.virtual.errors import BenchError
from drivers.virtual.messages import BoardPorts
from drivers.virtual.spec import BenchSpec, BoardSpec, Speed
from harness.commands.check import USAGE_ERROR, default_site
from harness.discovery import bench_notes
from harness.plan import BatchFileError, Overrides, load_plan


@click.command()
@click.argument("batch", required=False, type=click.Path(path_type=Path))
@click.option("--board", "chips", multiple=True, metavar="CHIP", help="A board of this chip; may be given again.")
@click.option("--state", type=click.Path(path_type=Path), default=Path(".bench"), help="Where the flash files live.")
@click.option("--speed", type=click.Choice([speed.value for speed in Speed]), help="Overrides the batch's.")
def bench(batch: Path | None, chips: tuple[str, ...], state: Path, speed: str | None) -> None:
    """Run virtual boards until Ctrl-C, and print their ports.

    They are those of --board, and a twin of each target of BATCH.
    """
    of_batch = _of_batch(batch)
    types = {board.board_id: device_type for board, device_type in of_batch}
    boards = [*(board for board, _type in of_batch), *_of_chips(chips)] or _of_chips(("esp32",))
    if speed:
        boards = [board.model_copy(update={"speed": Speed(speed)}) for board in boards]

    def ready(ports: Mapping[str, BoardPorts]) -> None:
        chips_of = {board.board_id: board.chip for board in boards}
        offers = {name: bench_notes.Offer(types.get(name, ""), chips_of[name], at) for name, at in ports.items()}
        _leave_note(note, state, offers)
        _print_ports(ports)

    try:
        with ExitStack() as note:
            serve(BenchSpec(state=state, boards=tuple(boards)), ready)
    except BenchError as error:
        click.echo(f"the bench can not start: {error}", err=True)
        sys.exit(1)


def _leave_note(note: ExitStack, state: Path, offers: Mapping[str, bench_notes.Offer]) -> None:
    """For `batch-flash discover`; a bench without one is none the worse."""
    try:
        note.enter_context(bench_notes.left(state, offers))
    except OSError as error:
        click.echo(f"batch-flash discover will not find these boards: {error}", err=True)


def _of_batch(batch: Path | None) -> list[tuple[BoardSpec, str]]:
    """A batch's boards, each with its device type."""
    if batch is None:
        return []
    try:
        plan = load_plan(batch, default_site(), Overrides(simulate=True))
    except BatchFileError as error:
        click.echo(str(error), err=True)
        sys.exit(USAGE_ERROR)
    return [(device.virtual, device.device_type) for device in plan.devices if device.virtual]


def _of_chips(chips: tuple[str, ...]) -> list[BoardSpec]:
    seen: Counter[str] = Counter()
    boards = []
    for chip in chips:
        seen[chip] += 1
        boards.append(BoardSpec(board_id=f"{chip}-{seen[chip]}", chip=chip))
    return boards


def _print_ports(boards: Mapping[str, BoardPorts]) -> None:
    width = max(len(board_id) for board_id in boards)
    for board_id, ports in boards.items():
        drive = f"{ports.mount_point} ({ports.drive})" if ports.drive else ports.mount_point
        places = (ports.url, ports.pty, ports.host, drive, ports.usb)
        click.echo("  ".join([f"{board_id:<{width}}", *filter(None, places)]))
