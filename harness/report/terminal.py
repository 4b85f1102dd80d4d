"""The last words of a run on the terminal: counts, each failed device, and at the very end the emergencies. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from harness.record import DeviceRecord, Outcome, RunRecord
from harness.report import words
from harness.report.figures import Figures, figures

WriteLine = Callable[[str, dict[str, bool]], None]
"""Takes a line without control characters, and how to show it: pytest's markup, `{"red": True, "bold": True}`."""

_COLUMNS = 78


@dataclass(frozen=True)
class Line:
    text: str
    markup: Mapping[str, bool] = field(default_factory=dict)


def print_summary(record: RunRecord, write_line: WriteLine) -> None:
    for line in summary_lines(record):
        write_line(line.text, dict(line.markup))


def summary_lines(run: RunRecord) -> list[Line]:
    counts = figures(run)
    return [
        *_counts(counts),
        *(line for device in run.devices if device.outcome.failed for line in _failed(run, device)),
        *_not_run(run),
        *_emergencies(run),
    ]


def _counts(counts: Figures) -> Iterator[Line]:
    parts = [
        f"{counts.count(outcome)} {words.OUTCOME_WORDS[outcome]}" for outcome in Outcome if counts.count(outcome) > 0
    ]
    good = counts.success == counts.total
    rate = f"{counts.success_rate:.1f}% success" if counts.success + counts.failure else "nothing ran"
    told = f": {', '.join(parts)}" if parts else ""
    text = f"{words.plural(counts.total, 'device')}{told}; {rate} in {words.duration(counts.total_s)}"
    yield Line(text, {"green": good, "red": not good, "bold": True})
    if counts.flash.average_s is not None:
        yield Line(
            f"flash time: {words.duration(counts.flash.average_s)} on average,"
            f" {words.duration(counts.flash.fastest_s)} to {words.duration(counts.flash.slowest_s)},"
            f" {words.speed(counts.flash.rate)}"
        )


def _failed(run: RunRecord, device: DeviceRecord) -> Iterator[Line]:
    category = f" [{device.error.category}]" if device.error else ""
    sign = words.OUTCOME_SIGNS[device.outcome]
    what = words.one_line(words.cause(device))
    yield Line(f"{sign} {device.device_id}: {what}{category}", {"red": True})
    yield Line(f"    {words.OUTCOME_WORDS[device.outcome]}: {words.one_line(words.state(device))}")
    if advice := words.what_to_do(run, device):
        yield Line(f"    {words.one_line(advice)}")


def _not_run(run: RunRecord) -> Iterator[Line]:
    for device in run.with_outcome(Outcome.NOT_RUN):
        reason = words.one_line(device.reason) or "did not run"
        yield Line(f"{words.OUTCOME_SIGNS[device.outcome]} {device.device_id}: not run: {reason}", {"yellow": True})


def _emergencies(run: RunRecord) -> Iterator[Line]:
    if not run.emergencies:
        return
    loud = {"red": True, "bold": True}
    yield Line("")
    yield Line(" BOARDS IN AN UNKNOWN STATE ".center(_COLUMNS, "!"), loud)
    for device in run.emergencies:
        why = words.one_line(device.reason or words.cause(device))
        yield Line(f"⚠ {device.device_id} on {words.one_line(device.port)}: {why}", loud)
        yield Line(f"    {words.one_line(words.what_to_do(run, device))}")
    yield Line("!" * _COLUMNS, loud)
