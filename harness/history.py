"""The controller's side of the ledger: what it is told of a run, and who is in quarantine."""

from __future__ import annotations

import time
from collections.abc import Iterable

from harness.ledger import Ledger
from harness.record import RunRecord
from harness.snapshot import Plan


def enter(plan: Plan, run: RunRecord) -> dict[str, str]:
    """Record a run that begins, before anything is touched; why devices are not to be run. Raises `LedgerError`."""
    Ledger(plan.ledger).record(run)
    return quarantined(plan)


def quarantined(plan: Plan, *, create: bool = True) -> dict[str, str]:
    """Why devices are not to be run. Raises `LedgerError`, with `create=False` also where there is no ledger yet."""
    if plan.rehearsal:  # virtual twins: what is wrong with the real boards is none of theirs
        return {}
    ledger = Ledger(plan.ledger, create=create)
    return {device_id: _why(entry.device_id, entry.reason) for device_id, entry in ledger.quarantined().items()}


def _why(device_id: str, reason: str) -> str:
    return f"in quarantine: {reason}; when it is mended: batch-flash quarantine release {device_id}"


def close(plan: Plan, run: RunRecord, killers: Iterable[str]) -> list[str]:
    """Record a run that has ended; what to tell of devices newly in quarantine. Raises `LedgerError`.

    `killers` are devices at which more than one worker died.
    """
    ledger = Ledger(plan.ledger)
    ledger.record(run)
    if plan.rehearsal:
        return []
    why = "its worker process died twice"
    newly = [device_id for device_id in killers if ledger.quarantine(device_id, run.run_id, why, time.time())]
    newly += [entry.device_id for entry in ledger.update_quarantine(run, plan.quarantine_after)]
    return [
        f"{device_id} is in quarantine from now on; when it is mended: batch-flash quarantine release {device_id}"
        for device_id in newly
    ]
