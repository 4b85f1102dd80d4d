"""`batch-flash check`: everything that is wrong with batch files, without pytest and without a board."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import click

from harness.config import SITE_FILE
from harness.plan import BatchFileError, Overrides, Plan, load_plan

USAGE_ERROR = 4
"""Exit status; pytest's own for a batch that it can not use."""


@click.command()
@click.argument("batches", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="BATCH...")
@click.option(
    "--config",
    "site",
    type=click.Path(path_type=Path),
    help=f"The site file; by default {SITE_FILE} of this folder, where there is one.",
)
@click.option("--simulate", is_flag=True, help="Check the batches as they would run on virtual boards.")
def check(batches: tuple[Path, ...], site: Path | None, simulate: bool) -> None:
    """Say all that is wrong with batch files; touch no board.

    That includes what they name: firmware, tests, the images of virtual boards.

    Exit status 0 when they are good, 4 when any is not.
    """
    site = site or default_site()
    good = [_check_one(batch, site, Overrides(simulate=simulate)) for batch in batches]
    if not all(good):
        sys.exit(USAGE_ERROR)


def default_site() -> Path | None:
    """The site file of this folder, None without."""
    path = Path.cwd() / SITE_FILE
    return path if path.exists() else None


def _check_one(batch: Path, site: Path | None, overrides: Overrides) -> bool:
    try:
        plan = load_plan(batch, site, overrides)
    except BatchFileError as error:
        click.echo(str(error), err=True)
        return False
    click.echo(f"{batch}: good: {summary(plan)}")
    return True


def summary(plan: Plan) -> str:
    """A batch in one line: its devices by type, and the images and versions that they get."""
    types = Counter(device.device_type for device in plan.devices)
    devices = ", ".join(f"{count} {device_type}" for device_type, count in types.items())
    images = dict.fromkeys(
        f"{image.path.name}{f' ({image.version})' if image.version else ''}"
        for device in plan.devices
        for image in device.images
    )
    count = len(plan.devices)
    return f"{count} device{'s' if count != 1 else ''} ({devices}) to {plan.version}: {', '.join(images)}"
