"""The fragments of the HTML report, each from its template. Pure; everything from a board or a batch is escaped."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from harness.record import DeviceRecord, Outcome, RunRecord
from harness.report import rollout, timeline, words
from harness.report.acts import acts, seconds_spent
from harness.report.conclusion import mood, sentence
from harness.report.figures import figures, not_run, rate
from harness.report.firmware import on_what, shares
from harness.rollout.wording import figure_words, gate_words, limit_words

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
_SHOWN = tuple(outcome for outcome in Outcome if outcome not in (Outcome.RESTORED, Outcome.RUNNING))
"""Outcomes that are counted also where there are none."""


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
        time_of_day=words.time_of_day,
        cause=words.cause,
        state=words.state,
        versions=words.versions,
        rate=lambda phase: words.speed(rate(phase)),
        acts=acts,
        spent=seconds_spent,
        since=lambda seconds: "0 s" if seconds < 1 else words.duration(seconds),
        gate=gate_words,
        figure=figure_words,
        limit=limit_words,
        status=rollout.status_text,
        group=rollout.group_text,
        update=rollout.update_of,
        why_not_restored=rollout.why_not_restored,
    )
    environment.globals.update(
        names=words.OUTCOME_WORDS,
        signs=words.OUTCOME_SIGNS,
        verdict_names=rollout.VERDICT_WORDS,
        verdict_signs=rollout.VERDICT_SIGNS,
        status_signs=rollout.STATUS_SIGNS,
        bars=timeline.bars,
        breaks=timeline.breaks,
        width=timeline.WIDTH,
        colours=timeline.COLOURS,
        letters=timeline.LETTERS,
    )
    return environment


_TEMPLATES = _environment()


def summary(run: RunRecord) -> str:
    """The page's head: it needs neither script nor style to be read, since Jenkins blocks both."""
    counts = figures(run)
    return _render(
        "summary.html",
        run,
        counts=counts,
        mood=mood(run),
        verdict=sentence(run),
        boards=on_what(run) if len(shares(run)) > 1 or run.rehearsal else "",
        shown=[outcome for outcome in Outcome if outcome in _SHOWN or counts.count(outcome)],
        errors=sorted(counts.errors.items(), key=lambda item: (-item[1], item[0])),
        not_run=not_run(run),
        scale_s=timeline.scale(run.devices),
        paused=any(len(acts(device)) > 1 for device in run.devices),
        is_plain=rollout.is_plain(run),
        waves=rollout.waves(run),
        gates=rollout.gates(run),
        halted=rollout.halted(run),
        restored=run.with_outcome(Outcome.RESTORED),
    )


def cells(run: RunRecord, device: DeviceRecord, scale_s: float) -> list[str]:
    """The row of a device, a `td` for each of `HEADER`."""
    html = _render("cells.html", run, device=device, scale_s=scale_s)
    return [f"<td{cell}" for cell in html.split("<td")[1:]]


def details(run: RunRecord, device: DeviceRecord) -> str:
    """What stands behind a click on the row."""
    return _render("details.html", run, device=device, advice=words.what_to_do(run, device))


def _render(template: str, run: RunRecord, **values: object) -> str:
    return _TEMPLATES.get_template(template).render(
        run=run,
        what_to_do=partial(words.what_to_do, run),
        wave_of=run.rollout.wave_of if rollout.in_waves(run) else lambda _device_id: None,
        not_restored=rollout.not_restored(run),
        why_taken_back=rollout.why_taken_back(run),
        **values,
    )
