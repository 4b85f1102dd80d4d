"""What the controller knows of its run: the folder, as anybody may read it, and what no journal could say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from harness.batchrun import BatchRun
from harness.journal import Event, Follower, Kind
from harness.record import DeviceRecord, Outcome, PhaseOutcome, RunRecord, fold, settle
from harness.rollout.state import RolloutState
from harness.run_log import RunLog
from harness.run_reader import blank, is_chosen, run_facts, with_devices
from harness.snapshot import DevicePlan

_DIED = "its worker process died"


class RunState:
    """One run, from its start. `record` may be asked for at any time; it is final once `end` was called."""

    def __init__(self, run: BatchRun, log: RunLog) -> None:
        self._run = run
        self._log = log
        self._plans = {device.device_id: device for device in run.plan.devices}
        self._facts = run_facts(run.folder)
        self._ended: float | None = None
        self._why_open: dict[str, str] = {}
        self._read: dict[str, tuple[Follower, DeviceRecord]] = {}
        self._crashed: set[str] = set()
        self._endings: dict[str, Event] = {}
        self.interrupted = ""
        """What ended the run before its time, in words."""

    def choose(self, device_ids: Sequence[str]) -> tuple[str, ...]:
        """These are part of the run, -k and the like have left the others out; a run that goes on has chosen before."""
        chosen = tuple(device_ids) if self._facts.chosen is None else self._facts.chosen
        self._facts = replace(self._facts, chosen=chosen)
        return chosen

    @property
    def rollout_before(self) -> RolloutState:
        """Where the rollout stood when the run was cut short; blank in a run that begins."""
        return self._facts.rollout

    def crashed(self, device_id: str) -> DeviceRecord | None:
        """The device's worker died for good. Its record, None where there is no such device."""
        self._crashed.add(device_id)
        return self.device(device_id)

    def has_crashed(self, device_id: str | None) -> bool:
        return device_id in self._crashed

    def begins(self, device_id: str) -> None:
        """An item of the device has started: what an earlier one said of its end holds no more."""
        self._endings.pop(device_id, None)

    def said(self, device_id: str, ending: Mapping[str, object]) -> None:
        """What the item's report said of its end: its journal may have missed it, on a full disk or before it began."""
        self._endings[device_id] = Event(self._run.clock(), Kind.ENDED, ending)

    def has_spoken(self, device_id: str) -> bool:
        """Whether the device's item has reported, be it only that it was skipped."""
        return device_id in self._endings

    def end(self, reason: Callable[[str], str]) -> None:
        """The session is over: whatever has no end now will not get one. `reason` says why, of each device."""
        open_ends = self.record().with_outcome(Outcome.NOT_RUN, Outcome.RUNNING)
        self._why_open = {each.device_id: each.reason or reason(each.device_id) for each in open_ends}
        self._why_open |= dict.fromkeys(self._crashed, _DIED)
        self._log.tell(Kind.RUN_ENDED, interrupted=self.interrupted, why_open=self._why_open)
        self._ended = run_facts(self._run.folder).ended or self._run.clock()  # what `status` reads there, too

    def record(self) -> RunRecord:
        facts = replace(run_facts(self._run.folder), ended=self._ended, interrupted=self.interrupted)
        chosen = [device_id for device_id in self._plans if is_chosen(self._facts, device_id)]
        devices = tuple(device for device_id in chosen if (device := self.device(device_id)))
        return with_devices(self._run.folder, self._run.plan, facts, devices)

    def device(self, device_id: str) -> DeviceRecord | None:
        """A device as its journal tells it, None where there is no such device."""
        plan = self._plans.get(device_id)
        if plan is None:
            return None
        record = self._as_journaled(plan)
        if record.outcome in (Outcome.RUNNING, Outcome.NOT_RUN) and device_id in self._endings:
            record = fold(record, [self._endings[device_id]])
        if device_id in self._crashed:
            return settle(record, _DIED, self._ended)
        if self._ended is not None:
            return settle(record, self._why_open.get(device_id, ""), self._ended)
        return record

    def _as_journaled(self, plan: DevicePlan) -> DeviceRecord:
        """Asked for many times in a run, so that only what is new of a journal is read."""
        follower, record = self._read.get(plan.device_id) or (
            Follower(self._run.folder.journal(plan.device_id)),
            blank(plan),
        )
        record = fold(record, follower.new_events())
        self._read[plan.device_id] = follower, record
        return record

    def where(self, device_id: str) -> str:
        """Where a device is, or was when it was cut short, in words."""
        device = self.device(device_id)
        running = [p.phase for p in device.phases if p.outcome is PhaseOutcome.RUNNING] if device else []
        return f"in the {running[-1]} phase" if running else "before its first phase"
