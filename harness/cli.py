"""The `batch-flash` command: a table of contents; each subcommand is a module of `harness.commands`."""

from __future__ import annotations

import click

from harness.commands.bench import bench
from harness.commands.check import check
from harness.commands.discover import discover_command
from harness.commands.history import history
from harness.commands.orders import approve, cancel
from harness.commands.quarantine import quarantine
from harness.commands.runs import runs
from harness.commands.schema import schema
from harness.commands.status import status


@click.group()
@click.version_option(package_name="batch-flash", prog_name="batch-flash")
def main() -> None:
    """Update and test fleets of IoT boards. To run a batch: pytest BATCH.yaml -n 8"""


main.add_command(approve)
main.add_command(bench)
main.add_command(cancel)
main.add_command(check)
main.add_command(discover_command)
main.add_command(history)
main.add_command(quarantine)
main.add_command(runs)
main.add_command(schema)
main.add_command(status)
