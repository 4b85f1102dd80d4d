"""The run in one sentence, and whether it is a good one. Pure."""

from __future__ import annotations

from enum import StrEnum

from harness.record import INTERRUPTED, DeviceRecord, Outcome, RunRecord
from harness.report import rollout
from harness.report.figures import Figures, figures
from harness.report.words import plural
from harness.rollout.state import GroupStatus, Verdict


class Mood(StrEnum):
    """How a report shows it."""

    GOOD = "good"  # every device is on the new firmware
    FAIR = "fair"  # not every one, and the gates allow that
    BAD = "bad"


def mood(run: RunRecord) -> Mood:
    counts, state = figures(run), run.rollout
    if state.halted or state.verdict is not Verdict.PASSED or run.emergencies or counts.restored:
        return Mood.BAD
    if counts.success == counts.total:
        return Mood.GOOD
    return Mood.FAIR if state.all_gates and not run.interrupted else Mood.BAD


def sentence(run: RunRecord) -> str:
    """The worst first."""
    counts = figures(run)
    if not counts.total:
        return "No device was in this run"
    if emergencies := counts.count(Outcome.EMERGENCY):
        return f"{plural(emergencies, 'board')} of {counts.total} in an UNKNOWN STATE"
    if head := _what_stopped_it(run, counts):
        return f"{head}: {', '.join(_parts(run, counts))}"
    if counts.failure:
        allowed = ", which the gates allow" if mood(run) is Mood.FAIR else ""
        return f"{counts.failure} of {plural(counts.total, 'device')} failed and kept the firmware they had{allowed}"
    if counts.success < counts.total:
        return f"{counts.success} of {plural(counts.total, 'device')} on {run.version}; {counts.skipped} did not run"
    return f"All {counts.total} devices are on {run.version}" if counts.total > 1 else f"The device is on {run.version}"


def is_unfinished(run: RunRecord, *, restores: bool) -> bool:
    """Whether a resumed run would have something to do. `restores`: a failed rollout is taken back."""
    if run.emergencies:
        return True
    if run.rollout.failed:
        return restores and any(_may_be_restored(run, device) for device in run.with_outcome(Outcome.UPDATED))
    given_up = any(group.status is GroupStatus.GIVEN_UP for group in run.rollout.groups)
    cut_short = run.ended is None or bool(run.interrupted or run.rollout.halted) or given_up
    return cut_short and any(_is_open(device) for device in run.devices)


def _may_be_restored(run: RunRecord, device: DeviceRecord) -> bool:
    """Not one that had its turn and stayed as it is without an error: nothing is known that could be put there."""
    had_its_turn = device.restoring and run.ended is not None and not run.interrupted
    return not had_its_turn or device.error is not None


def _is_open(device: DeviceRecord) -> bool:
    was_stopped = device.error is not None and device.error.kind == INTERRUPTED
    return device.outcome is Outcome.NOT_RUN or (device.outcome is Outcome.UNTOUCHED and was_stopped)


def how_to_go_on(run: RunRecord) -> str:
    return f"go on with it: pytest {run.batch_file} --resume {run.run_id}"


def _what_stopped_it(run: RunRecord, counts: Figures) -> str:
    if rollout.is_plain(run) and not counts.restored:
        return ""
    taken_back = " and taken back" if counts.restored else ""
    if run.rollout.halted:
        begun = [wave for wave in rollout.waves(run) if wave.is_begun]
        where = f" in wave {begun[-1].state.number} of {begun[-1].of}" if begun else ""
        return f"Halted{where}{taken_back}"
    if run.rollout.failed or rollout.failed_gates(run):
        return f"{rollout.why_taken_back(run)}{', taken back' if counts.restored else ''}"
    return "Taken back" if counts.restored else ""


def _parts(run: RunRecord, counts: Figures) -> list[str]:
    left = len(rollout.not_restored(run))
    told = {
        "failed": counts.failure,
        "restored": counts.restored,
        f"NOT taken back (on {run.version})": left,
        f"on {run.version}": counts.success - left,
        "running": counts.count(Outcome.RUNNING),
        "did not run": counts.skipped,
    }
    first, *others = [(what, count) for what, count in told.items() if count]
    return [
        f"{first[1]} of {plural(counts.total, 'device')} {first[0]}",
        *(f"{count} {what}" for what, count in others),
    ]
