"""What the rollout is told of a device, from its record. Pure."""

from __future__ import annotations

from harness.record import DeviceRecord, Outcome, Phase, PhaseOutcome
from harness.rollout.gates import Result


def result_of(device: DeviceRecord) -> Result:
    """How the device's update ended, as far as gates care; a batch rollback does not change that."""
    outcome = device.update_outcome
    return Result(
        succeeded=outcome.succeeded,
        restorable=outcome is Outcome.UPDATED and device.certain_outcome is Outcome.UPDATED,
        verified=device.is_verified,
        flash_s=_seconds(device, Phase.FLASH),
        verify_s=_seconds(device, Phase.VERIFY),
        error_kind=str(device.error.category) if device.error else None,
        ran=outcome is not Outcome.NOT_RUN,
    )


def _seconds(device: DeviceRecord, phase: Phase) -> float | None:
    """What the phase took the time that it passed; None where it never did, or had nothing to do."""
    passed = (p.seconds for p in reversed(device.phases) if p.phase is phase and p.outcome is PhaseOutcome.PASSED)
    return next(passed, None)
