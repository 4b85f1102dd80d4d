"""The fragments of the HTML report, each from its template. Pure; everything from a board or a batch is escaped."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from harness.record import DeviceRecord, Outcome, RunRecord
from harness.report import timeline, words
from harness.report.figures import figures, rate

CSS = Path(__file__).with_name("style.css")

HEADER = (
    '<th class="sortable" data-column-type="result">Outcome</th>',
    '<th class="sortable" data-column-type="device">Device</th>',
    '<th class="sortable" data-column-type="type">Type</th>',
    '<th class="sortable" data-column-type="identity">Identity</th>',
    '<th class="sortable" data-column-type="version">Version</th>',
    '<th class="sortable" data-column-type="attempts">Attempts</th>',
    "<th>Phases over time</th>",
    '<th class="sortable" data-column-type="duration">Time</th>',
)
_SHOWN = tuple(outcome for outcome in Outcome if outcome is not Outcome.RUNNING)


def _shown(value: object) -> object:
    return words.printable(value) if type(value) is str else value  # Markup is ours already


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
    )
    environment.filters.update(
        duration=words.duration,
        size=words.size,
        speed=words.speed,
        clock=words.clock,
        cause=words.cause,
        state=words.state,
        versions=words.versions,
        rate=lambda phase: words.speed(rate(phase)),
    )
    environment.globals.update(
        names=words.OUTCOME_WORDS,
        signs=words.OUTCOME_SIGNS,
        bars=timeline.bars,
        width=timeline.WIDTH,
        colours=timeline.COLOURS,
        letters=timeline.LETTERS,
    )
    return environment


_TEMPLATES = _environment()


def summary(run: RunRecord) -> str:
    """The page's head: it needs neither script nor style to be read, since Jenkins blocks both."""
    counts = figures(run)
    environment = _TEMPLATES.overlay()
    environment.filters = {**_TEMPLATES.filters, "what_to_do": lambda device: words.what_to_do(run, device)}
    return environment.get_template("summary.html").render(
        run=run,
        counts=counts,
        verdict=words.verdict(run),
        shown=_SHOWN,
        errors=sorted(counts.errors.items(), key=lambda item: (-item[1], item[0])),
        not_run=run.with_outcome(Outcome.NOT_RUN),
        scale_s=timeline.scale(run.devices),
    )


def cells(device: DeviceRecord, scale_s: float) -> list[str]:
    """The row of a device, a `td` for each of `HEADER`."""
    html = _TEMPLATES.get_template("cells.html").render(device=device, scale_s=scale_s)
    return [f"<td{cell}" for cell in html.split("<td")[1:]]


def details(run: RunRecord, device: DeviceRecord) -> str:
    """What stands behind a click on the row."""
    return _TEMPLATES.get_template("details.html").render(device=device, advice=words.what_to_do(run, device))
