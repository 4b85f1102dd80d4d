"""How the reports speak of a rollout: its waves, gates and groups, and why it was taken back. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from harness.record import DeviceRecord, Outcome, RunRecord
from harness.report import words
from harness.rollout.state import GateState, GroupState, GroupStatus, Verdict, WaveState, WaveStatus

VERDICT_WORDS = {Verdict.PASSED: "passed", Verdict.FAILED: "failed", Verdict.OPEN: "not decided"}
VERDICT_SIGNS = {Verdict.PASSED: "✔", Verdict.FAILED: "✘", Verdict.OPEN: "○"}
STATUS_WORDS = {
    WaveStatus.WAITING: "not started",
    WaveStatus.RUNNING: "running",
    WaveStatus.SOAKING: "passed, soaking",
    WaveStatus.AWAITING_APPROVAL: "passed, awaiting approval",
    WaveStatus.PASSED: "passed",
    WaveStatus.FAILED: "failed",
    WaveStatus.HALTED: "halted",
}
STATUS_SIGNS = {
    WaveStatus.WAITING: "○",
    WaveStatus.RUNNING: "…",
    WaveStatus.SOAKING: "✔",
    WaveStatus.AWAITING_APPROVAL: "✔",
    WaveStatus.PASSED: "✔",
    WaveStatus.FAILED: "✘",
    WaveStatus.HALTED: "■",
}
GROUP_WORDS = {
    GroupStatus.PAUSED: "paused",
    GroupStatus.TRYING: "one device is tried again",
    GroupStatus.GIVEN_UP: "given up",
}


@dataclass(frozen=True)
class Wave:
    """A wave with what became of its devices. `updates` counts how their updates ended, whatever came later."""

    state: WaveState
    of: int
    updates: Mapping[Outcome, int]
    restored: int

    @property
    def is_begun(self) -> bool:
        return self.state.started is not None

    @property
    def succeeded(self) -> int:
        return sum(count for outcome, count in self.updates.items() if outcome.succeeded)

    @property
    def failed(self) -> int:
        return sum(count for outcome, count in self.updates.items() if outcome.failed)


def waves(run: RunRecord) -> tuple[Wave, ...]:
    """None where all devices were one wave."""
    if not in_waves(run):
        return ()
    devices = {device.device_id: device for device in run.devices}
    return tuple(
        _wave(run, state, [devices[name] for name in state.devices if name in devices]) for state in run.rollout.waves
    )


def in_waves(run: RunRecord) -> bool:
    return len(run.rollout.waves) > 1


def _wave(run: RunRecord, state: WaveState, devices: Iterable[DeviceRecord]) -> Wave:
    found = tuple(devices)
    counted = Counter(update_of(device) for device in found)
    updates = {outcome: counted[outcome] for outcome in Outcome if counted[outcome]}
    restored = sum(device.outcome is Outcome.RESTORED for device in found)
    return Wave(state, len(run.rollout.waves), updates, restored)


def update_of(device: DeviceRecord) -> Outcome:
    """How the device's update ended, or that it goes on; taking it back does not change that."""
    going_on = device.outcome is Outcome.RUNNING and not device.restoring
    return Outcome.RUNNING if going_on else device.update_outcome


def gates(run: RunRecord) -> tuple[GateState, ...]:
    """Those over the whole batch. One wave is the batch: what was asked of it stands here and nowhere else."""
    batch = run.rollout.gates
    if in_waves(run):
        return batch
    names = {gate.name for gate in batch}
    return (*(gate for wave in run.rollout.waves for gate in wave.gates if gate.name not in names), *batch)


def all_gates(run: RunRecord) -> tuple[tuple[str, GateState], ...]:
    """Each with its wave, `wave 3`, or nothing for the batch's; waves first, since the batch's follow from them."""
    waves = run.rollout.waves if in_waves(run) else ()
    of_waves = ((f"wave {wave.number}", gate) for wave in waves for gate in wave.gates)
    return (*of_waves, *(("", gate) for gate in gates(run)))


def failed_gates(run: RunRecord) -> tuple[tuple[str, GateState], ...]:
    """Each with where it failed, `wave 3` or nothing."""
    return tuple((where, gate) for where, gate in all_gates(run) if gate.verdict is Verdict.FAILED)


def is_plain(run: RunRecord) -> bool:
    """One wave that no gate judged and nothing stopped: there is nothing to tell of a rollout."""
    rollout = run.rollout
    told = gates(run) or rollout.groups or rollout.restoring or any(note.loud for note in run.notes)
    return not (in_waves(run) or told or _halt(run))


def _halt(run: RunRecord) -> str:
    """Why it was halted, unless that is what the run says of itself already."""
    return "" if run.rollout.halted == run.interrupted else run.rollout.halted


def halted(run: RunRecord) -> str:
    """Why nothing more was started; empty where it was not halted. What was no gate's doing does not say where."""
    reason = run.rollout.halted
    cut_short = next((wave for wave in waves(run) if wave.state.status is WaveStatus.HALTED), None)
    return f"{reason} (in wave {cut_short.state.number} of {cut_short.of})" if reason and cut_short else reason


def why_taken_back(run: RunRecord) -> str:
    """In a few words, to stand at each board that was restored."""
    failed = failed_gates(run)
    if failed:
        where, gate = failed[0]
        return f"{gate.name} failed in {where}" if where else f"{gate.name} failed"
    return run.rollout.failed or run.rollout.halted or "the rollout failed"


def not_restored(run: RunRecord) -> tuple[DeviceRecord, ...]:
    """Boards that stay on the new firmware of a rollout that was taken back: it was tried, or their turn never came."""
    turn_is_over = run.rollout.restoring and run.ended is not None
    return tuple(device for device in run.with_outcome(Outcome.UPDATED) if device.restoring or turn_is_over)


def why_not_restored(device: DeviceRecord) -> str:
    return device.reason if device.restoring else "not restored: its turn never came"


def wave_text(wave: Wave) -> str:
    """`wave 2 of 4: 5 devices: 4 updated, 1 rolled back: passed; 4 restored`."""
    devices = words.plural(len(wave.state.devices), "device")
    told = f": {', '.join(f'{n} {words.OUTCOME_WORDS[o]}' for o, n in wave.updates.items())}" if wave.is_begun else ""
    restored = f"; {wave.restored} restored" if wave.restored else ""
    return f"wave {wave.state.number} of {wave.of}: {devices}{told}: {status_text(wave.state)}{restored}"


def status_text(wave: WaveState) -> str:
    until = f" until {words.clock(wave.until)}" if wave.until is not None and _is_pause(wave.status) else ""
    return f"{STATUS_WORDS[wave.status]}{until}"


def _is_pause(status: WaveStatus) -> bool:
    return status in (WaveStatus.SOAKING, WaveStatus.AWAITING_APPROVAL)


def group_text(group: GroupState) -> str:
    until = f" until {words.clock(group.until)}" if group.status is GroupStatus.PAUSED and group.until else ""
    return f"group {group.name} {GROUP_WORDS[group.status]}{until}: {group.reason}"
