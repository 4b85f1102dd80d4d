"""`batch-flash cancel` and `approve`: orders to a run that is going on."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from harness.commands.at_run import plan_of, the_live_run
from harness.commands.options import site_option
from harness.control import Control, Order
from harness.rollout.state import WaveStatus
from harness.run_reader import run_facts
from harness.runs import RunFolder


@click.command()
@click.argument("run")
@site_option
def cancel(run: str, site: Path | None) -> None:
    """Stop a run as a first Ctrl-C does.

    No further board is started, those being worked on are finished or restored.

    RUN is a run's id, a part of it that no other has, or `last`.
    """
    folder = the_live_run(run, site)
    _give(folder, Order.CANCEL)
    click.echo(f"run {folder.run_id} starts no further device; batch-flash status {folder.run_id} tells how it ends")


@click.command()
@click.argument("run")
@site_option
def approve(run: str, site: Path | None) -> None:
    """Let the next wave of a run start (`approve: true`).

    Given before the wave has ended, it holds for its end.

    RUN is a run's id, a part of it that no other has, or `last`.
    """
    folder = the_live_run(run, site)
    if not plan_of(folder).rollout.approve:
        click.echo(f"run {folder.run_id} asks for no approval", err=True)
        sys.exit(1)
    waits = [wave for wave in run_facts(folder).rollout.waves if wave.status is WaveStatus.AWAITING_APPROVAL]
    _give(folder, Order.APPROVE)
    after = f"wave {waits[0].number}" if waits else "the wave that is running, once it has passed"
    click.echo(f"run {folder.run_id}: approved after {after}")


def _give(folder: RunFolder, order: Order) -> None:
    try:
        Control(folder.control).give(order)
    except OSError as error:
        click.echo(f"run {folder.run_id} can not be told: {error}", err=True)
        sys.exit(1)
