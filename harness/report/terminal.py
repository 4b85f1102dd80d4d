"""The last words of a run on the terminal: counts, the rollout, each failed device, what the boards are on, and at the
very end the emergencies. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from harness.record import DeviceRecord, Outcome, RunRecord
from harness.report import rollout, words
from harness.report.conclusion import Mood, mood
from harness.report.figures import figures, not_run
from harness.report.firmware import on_what
from harness.rollout.state import GateState, GroupStatus, Verdict, WaveStatus
from harness.rollout.wording import gate_words

WriteLine = Callable[[str, dict[str, bool]], None]
"""Takes a line without control characters, and how to show it: pytest's markup, `{"red": True, "bold": True}`."""

_COLUMNS = 78
_LOUD = {"red": True, "bold": True}
_MOODS = {
    Mood.GOOD: {"green": True, "bold": True},
    Mood.FAIR: {"yellow": True, "bold": True},
    Mood.BAD: _LOUD,
}
_VERDICTS: Mapping[Verdict, Mapping[str, bool]] = {
    Verdict.PASSED: {"green": True},
    Verdict.FAILED: {"red": True},
    Verdict.OPEN: {"yellow": True},
}


@dataclass(frozen=True)
class Line:
    text: str
    markup: Mapping[str, bool] = field(default_factory=dict)


def print_summary(record: RunRecord, write_line: WriteLine) -> None:
    for line in summary_lines(record):
        write_line(line.text, dict(line.markup))


def summary_lines(run: RunRecord) -> list[Line]:
    return [
        *_counts(run),
        *_rollout(run),
        *(line for device in run.devices if device.outcome.failed for line in _failed(run, device)),
        *_restored(run),
        *_not_run(run),
        *_boards(run),
        *_emergencies(run),
    ]


def _counts(run: RunRecord) -> Iterator[Line]:
    counts = figures(run)
    parts = [
        f"{counts.count(outcome)} {words.OUTCOME_WORDS[outcome]}" for outcome in Outcome if counts.count(outcome) > 0
    ]
    rate = f"{counts.success_rate:.1f}% success" if counts.ran else "nothing ran"
    told = f": {', '.join(parts)}" if parts else " of the batch chosen"
    text = f"{words.plural(counts.total, 'device')}{told}; {rate} in {words.duration(counts.total_s)}"
    yield Line(text, _MOODS[mood(run)])
    if counts.flash.average_s is not None:
        yield Line(
            f"flash time: {words.duration(counts.flash.average_s)} on average,"
            f" {words.duration(counts.flash.fastest_s)} to {words.duration(counts.flash.slowest_s)},"
            f" {words.speed(counts.flash.rate)}"
        )


def _rollout(run: RunRecord) -> Iterator[Line]:
    yield from _waves(run)
    if rollout.in_waves(run) and rollout.gates(run):
        yield Line("the whole batch:")
    yield from map(_gate, rollout.gates(run))
    for group in run.rollout.groups:
        markup = {"red": True} if group.status is GroupStatus.GIVEN_UP else {"yellow": True}
        yield Line(words.one_line(rollout.group_text(group)), markup)
    if halted := rollout.halted(run):
        yield Line(f"HALTED: {words.one_line(halted)}", _LOUD)


def _waves(run: RunRecord) -> Iterator[Line]:
    for waits, waves in groupby(rollout.waves(run), lambda wave: wave.state.status is WaveStatus.WAITING):
        if waits:
            yield _waiting(tuple(waves))
            continue
        for wave in waves:
            yield Line(rollout.wave_text(wave))
            yield from map(_gate, wave.state.gates)


def _waiting(waves: Sequence[rollout.Wave]) -> Line:
    """All of them in one line: nothing is known of any."""
    first, last = waves[0], waves[-1]
    if first is last:
        return Line(rollout.wave_text(first))
    devices = words.plural(sum(len(wave.state.devices) for wave in waves), "device")
    return Line(f"waves {first.state.number} to {last.state.number} of {first.of}: {devices}: not started")


def _gate(gate: GateState) -> Line:
    verdict = f": {rollout.VERDICT_WORDS[gate.verdict]}" if gate.verdict is Verdict.OPEN else ""
    text = f"  {rollout.VERDICT_SIGNS[gate.verdict]} {words.one_line(gate_words(gate))}{verdict}"
    return Line(text, _VERDICTS[gate.verdict])


def _failed(run: RunRecord, device: DeviceRecord) -> Iterator[Line]:
    category = f" [{device.error.category}]" if device.error else ""
    sign = words.OUTCOME_SIGNS[device.outcome]
    what = words.one_line(words.cause(device))
    yield Line(f"{sign} {device.device_id}: {what}{category}", {"red": True})
    yield Line(f"    {words.OUTCOME_WORDS[device.outcome]}: {words.one_line(words.state(device))}")
    if advice := words.what_to_do(run, device):
        yield Line(f"    {words.one_line(advice)}")


def _restored(run: RunRecord) -> Iterator[Line]:
    restored = run.with_outcome(Outcome.RESTORED)
    if restored:
        yield from _together(Outcome.RESTORED, restored, f"restored, since {rollout.why_taken_back(run)}")
    for device in restored:
        if device.reason:
            yield Line(f"    {device.device_id}: {words.one_line(words.state(device))}", {"yellow": True})
    left = rollout.not_restored(run)
    if left:
        yield Line(f"NOT TAKEN BACK: {len(left)} of {words.plural(len(run.devices), 'device')}", _LOUD)
    for device in left:
        told = f"{words.state(device)}; {rollout.why_not_restored(device)}"
        yield Line(f"✘ {device.device_id}: {words.one_line(told)}", _LOUD)


def _not_run(run: RunRecord) -> Iterator[Line]:
    for reason, devices in not_run(run).items():
        yield from _together(Outcome.NOT_RUN, devices, f"not run: {reason}")


def _together(outcome: Outcome, devices: Sequence[DeviceRecord], what: str) -> Iterator[Line]:
    """The same of each of them, with the names of the first few; the other reports have them all."""
    names = [device.device_id for device in devices]
    who = names[0] if len(names) == 1 else f"{len(names)} devices"
    yield Line(f"{words.OUTCOME_SIGNS[outcome]} {who}: {words.one_line(what)}", {"yellow": True})
    if len(names) > 1:
        yield Line(f"    {words.together(names)}")


def _boards(run: RunRecord) -> Iterator[Line]:
    if run.devices:
        twins = "virtual twins, no board was touched: " if run.rehearsal else "boards: "
        yield Line(f"{twins}{words.one_line(on_what(run))}", {"bold": True})


def _emergencies(run: RunRecord) -> Iterator[Line]:
    if not run.emergencies:
        return
    yield Line("")
    yield Line(" BOARDS IN AN UNKNOWN STATE ".center(_COLUMNS, "!"), _LOUD)
    for device in run.emergencies:
        why = words.one_line(device.reason or words.cause(device))
        yield Line(f"⚠ {device.device_id} on {words.one_line(device.port)}: {why}", _LOUD)
        yield Line(f"    {words.one_line(words.what_to_do(run, device))}")
    yield Line("!" * _COLUMNS, _LOUD)
