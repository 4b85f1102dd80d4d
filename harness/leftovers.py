"""Boards that an earlier run has left half-written, and that nobody has resumed: what they hold is nobody's backup.

A new run does not read it into the store as "the firmware that it had", but takes over the backup of that earlier run.
"""

from __future__ import annotations

from harness.ledger import Ledger
from harness.record import Outcome
from harness.recovery import is_left_half_done
from harness.run_reader import device_record, is_chosen, run_facts
from harness.runs import RunFolder
from harness.snapshot import DevicePlan, Plan


def left_half_written(plan: Plan) -> dict[str, str]:
    """The plan's devices that are so, each with the run that left it. Raises `LedgerError`."""
    devices = {device.device_id: device for device in plan.devices if _outlives_runs(device)}
    if plan.rehearsal or not devices:
        return {}
    ledger = Ledger(plan.ledger)
    standing = ledger.standing(devices)
    found = {device_id: each.run_id for device_id, each in standing.items() if each.outcome is Outcome.EMERGENCY}
    for run in ledger.unended():  # killed, and never resumed: the ledger knows no more than that it began
        folder = RunFolder(plan.runs_dir / run.run_id)
        for device_id, device in devices.items():
            later = device_id in standing and standing[device_id].run_started > run.started
            if not later and is_left_half_done(device_record(folder, device)):
                found[device_id] = run.run_id
    return found


def written_since(plan: Plan, folder: RunFolder) -> dict[str, str]:
    """The run's devices that a later run has written to, each with that run. Raises `LedgerError`."""
    facts = run_facts(folder)
    devices = [d.device_id for d in plan.devices if _outlives_runs(d) and is_chosen(facts, d.device_id)]
    return {} if plan.rehearsal or not devices else Ledger(plan.ledger).written_since(devices, folder.run_id)


def _outlives_runs(device: DevicePlan) -> bool:
    """Not a virtual board that is made anew with every run."""
    return device.virtual is None or device.virtual.keep
