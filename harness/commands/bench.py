"""`batch-flash bench`: virtual boards by hand, for any tool that speaks to a serial port."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import click

from drivers.virtual.bench import serve
from drivers.virtual.errors import BenchError
from drivers.virtual.messages import BoardPorts
from drivers.virtual.spec import BenchSpec, BoardSpec, Speed
from harness.commands.check import USAGE_ERROR, default_site
from harness.plan import BatchFileError, Overrides, load_plan


@click.command()
@click.argument("batch", required=False, type=click.Path(path_type=Path))
@click.option("--board", "chips", multiple=True, metavar="CHIP", help="A board of this chip; may be given again.")
@click.option("--state", type=click.Path(path_type=Path), default=Path(".bench"), help="Where the flash files live.")
@click.option("--speed", type=click.Choice([speed.value for speed in Speed]), help="Overrides the batch's.")
def bench(batch: Path | None, chips: tuple[str, ...], state: Path, speed: str | None) -> None:
    """Run virtual boards until Ctrl-C: those of --board, and a twin of each target of BATCH; print their ports."""
    boards = [*_of_batch(batch), *_of_chips(chips)] or _of_chips(("esp32",))
    if speed:
        boards = [board.model_copy(update={"speed": Speed(speed)}) for board in boards]
    try:
        serve(BenchSpec(state=state, boards=tuple(boards)), _print_ports)
    except BenchError as error:
        click.echo(f"the bench can not start: {error}", err=True)
        sys.exit(1)


def _of_batch(batch: Path | None) -> list[BoardSpec]:
    if batch is None:
        return []
    try:
        plan = load_plan(batch, default_site(), Overrides(simulate=True))
    except BatchFileError as error:
        click.echo(str(error), err=True)
        sys.exit(USAGE_ERROR)
    return [device.virtual for device in plan.devices if device.virtual]


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
        places = (ports.url, ports.pty, ports.host, ports.mount_point, ports.usb)
        click.echo("  ".join([f"{board_id:<{width}}", *filter(None, places)]))
