"""A run as its folder tells it, to anybody, also while it goes on: the plan and the journals, folded into records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from drivers.net import SCHEME
from harness.journal import Event, Kind, read
from harness.record import DeviceRecord, Outcome, RunNote, RunRecord, fold, settle
from harness.rollout.state import RolloutState
from harness.runs import RunFolder
from harness.snapshot import DevicePlan, Plan

CUT_SHORT = "the run was cut short"


@dataclass(frozen=True)
class RunFacts:
    """The run's own journal, folded. `why_open`: why devices have no end; `ended` is None while it goes on."""

    started: float = 0.0
    ended: float | None = None
    pid: int | None = None
    chosen: tuple[str, ...] | None = None
    interrupted: str = ""
    why_open: Mapping[str, str] = field(default_factory=dict)
    rollout: RolloutState = field(default_factory=RolloutState)
    notes: tuple[RunNote, ...] = ()


def fold_run(facts: RunFacts, event: Event) -> RunFacts:
    """The facts after one more event; one that does not say what its kind says is passed over. Pure."""
    try:
        return _folded(facts, event)
    except (AttributeError, KeyError, TypeError, ValueError):
        return facts


def _folded(facts: RunFacts, event: Event) -> RunFacts:
    data = event.data
    match event.kind:
        case Kind.RUN_STARTED:
            started = facts.started or event.at
            return replace(facts, started=started, ended=None, pid=data["pid"], interrupted="", why_open={})
        case Kind.CHOSEN:
            return replace(facts, chosen=tuple(data["devices"]))
        case Kind.NOTE:
            return replace(facts, notes=(*facts.notes, RunNote(event.at, data["text"], bool(data["loud"]))))
        case Kind.ROLLOUT:
            return replace(facts, rollout=RolloutState.model_validate(data["state"]))
        case Kind.RUN_ENDED:
            return replace(facts, ended=event.at, interrupted=data["interrupted"], why_open=dict(data["why_open"]))
    return facts


def blank(plan: DevicePlan) -> DeviceRecord:
    """The record of a device that nothing has happened to."""
    return DeviceRecord(plan.device_id, plan.device_type, plan.place.removeprefix(f"{SCHEME}://"), plan.version)


def device_record(folder: RunFolder, plan: DevicePlan) -> DeviceRecord:
    """A device as its journal tells it, its end left open where it has none."""
    return fold(blank(plan), read(folder.journal(plan.device_id)))


def run_facts(folder: RunFolder) -> RunFacts:
    facts = RunFacts()
    events = read(folder.run_journal)
    last_state = next((event for event in reversed(events) if event.kind is Kind.ROLLOUT), None)
    for event in events:
        if event.kind is not Kind.ROLLOUT or event is last_state:  # each names every device: only the last one counts
            facts = fold_run(facts, event)
    return facts


def run_record(folder: RunFolder, plan: Plan, *, is_live: bool) -> RunRecord:
    """The run as it is now. One that neither ended nor is live was cut short: its devices are settled so."""
    facts = run_facts(folder)
    devices = (device_record(folder, device) for device in plan.devices if is_chosen(facts, device.device_id))
    told = (_not_yet(device) if is_live else _settled(facts, device) for device in devices)
    return with_devices(folder, plan, facts, tuple(told))


def is_chosen(facts: RunFacts, device_id: str) -> bool:
    """Whether a device is part of the run; -k and the like leave others out."""
    return facts.chosen is None or device_id in facts.chosen


def _not_yet(device: DeviceRecord) -> DeviceRecord:
    waits = device.outcome is Outcome.NOT_RUN and not device.reason
    return replace(device, reason="the run is still going on") if waits else device


def _settled(facts: RunFacts, device: DeviceRecord) -> DeviceRecord:
    reason = facts.why_open.get(device.device_id) or facts.interrupted or CUT_SHORT
    return settle(device, reason, facts.ended)


def with_devices(folder: RunFolder, plan: Plan, facts: RunFacts, devices: tuple[DeviceRecord, ...]) -> RunRecord:
    """The run's record around these devices."""
    return RunRecord(
        run_id=folder.run_id,
        batch_name=plan.batch_name,
        batch_file=str(plan.batch_file),
        description=plan.description,
        version=plan.version,
        strategy=plan.strategy,
        started=facts.started,
        ended=facts.ended,
        devices=devices,
        simulated=any(device.virtual for device in plan.devices),
        interrupted=facts.interrupted,
        rehearsal=plan.rehearsal,
        rollout=facts.rollout,
        notes=facts.notes,
    )
