"""`batch-flash status`: a run as it is now, from its folder alone; the run need not be asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click

from harness.commands.at_run import plan_of, the_run
from harness.commands.options import site_option
from harness.journal import is_being_written
from harness.record import DeviceRecord, Outcome, PhaseOutcome, RunRecord
from harness.report import json_report, words
from harness.report.conclusion import how_to_go_on, is_unfinished
from harness.report.terminal import summary_lines
from harness.run_reader import run_facts, run_record
from harness.runs import LAST, RunFolder


@click.command()
@click.argument("run", default=LAST)
@click.option("--json", "as_json", is_flag=True, help="As report.json, and whether it is `live`.")
@site_option
def status(run: str, as_json: bool, site: Path | None) -> None:
    """Show a run, also while it goes on.

    RUN is a run's id, a part of it that no other has, or `last` (the default).
    """
    folder = the_run(run, site)
    is_live = is_being_written(folder.run_journal)
    plan = plan_of(folder)
    record = run_record(folder, plan, is_live=is_live)
    if as_json:
        click.echo(json.dumps({"live": is_live, **json_report.as_json(record)}, indent=1))
        return
    pid = run_facts(folder).pid
    going_on = f"going on (process {pid})" if is_live else "ended" if record.ended else "cut short"
    click.echo(f"run {record.run_id}: {record.batch_name} to {record.version}: {going_on}")
    for line in [*_active(record), *(line.text for line in summary_lines(record))]:
        click.echo(line)
    if not is_live and is_unfinished(record, restores=plan.rollout.restore):
        click.echo(how_to_go_on(record))
    elif not is_live and _lacks_reports(folder, record):
        click.echo(f"its reports were not written; to have them: pytest {record.batch_file} --resume {record.run_id}")


def _lacks_reports(folder: RunFolder, record: RunRecord) -> bool:
    """It was killed while it wrote them, say; those that are there may be of before the run was resumed."""
    try:
        report = json.loads(folder.json.read_text())
    except (OSError, ValueError):
        return True
    return bool(report.get("ended") != record.ended)


def _active(record: RunRecord) -> Iterator[str]:
    for device in record.with_outcome(Outcome.RUNNING):
        yield f"… {device.device_id}: {_doing(device)}"


def _doing(device: DeviceRecord) -> str:
    phase = device.phases[-1] if device.phases else None
    if phase is None or phase.outcome is not PhaseOutcome.RUNNING:
        return "between two phases"
    share = f" {100 * phase.done // phase.total} %" if phase.total else ""
    return f"{words.phase_name(phase)}{share}"
