"""`batch-flash runs`: the runs of all batches, as the ledger knows them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.commands.at_ledger import ledger_at
from harness.commands.options import limit_option, site_option
from harness.commands.table import Cell, Part, show
from harness.report import words

if TYPE_CHECKING:
    from harness.ledger import RunSummary


@click.command()
@limit_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON; times in seconds since the epoch.")
@site_option
def runs(limit: int, as_json: bool, site: Path | None) -> None:
    """List the runs, the newest first.

    Exit status 0, also when there is none yet; 4 when the ledger can not be used.
    """
    with ledger_at(site) as ledger:
        known = ledger.runs(limit)
    if as_json:
        click.echo(json.dumps([asdict(run) for run in known], indent=1))
    elif known:
        show(("run", "to", "#time", "devices"), (_row(run) for run in known))
    else:
        click.echo("no run yet")


def _row(run: RunSummary) -> tuple[Cell, ...]:
    seconds = None if run.ended is None else run.ended - run.started
    return run.run_id, run.version, words.duration(seconds), (*_counts(run), *_remarks(run))


def _counts(run: RunSummary) -> Iterator[Part]:
    rest = "not finished" if run.ended is None else "not run"
    counts = (
        (run.success_count, "good", "green"),
        (run.failure_count, "failed", "red"),
        (run.restored_count, "restored", "yellow"),
        (run.rest_count, rest, "yellow"),
    )
    return (Part(f"{count} {what}", style) for count, what, style in counts if count)


def _remarks(run: RunSummary) -> Iterator[Part]:
    if run.rehearsal:
        yield Part("a rehearsal", "cyan")
    if run.ended is None:
        yield Part("going on, or killed", "yellow")
    if run.halted and run.halted != run.interrupted:
        yield Part(f"halted: {run.halted}", "bold yellow")
    if run.interrupted:
        yield Part(run.interrupted, "bold yellow")
