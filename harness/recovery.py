"""What to do with a device whose journal is not blank: its worker died, its run was cut short, or it is an emergency.

Pure. The one answer to a killed worker, a killed controller and a power cut: verify, then finish or restore.
"""

from __future__ import annotations

from enum import StrEnum

from drivers.base import Category
from harness.record import INTERRUPTED, DeviceRecord, ErrorRecord, Outcome, Phase


class Way(StrEnum):
    """How to go on with a device."""

    BEGIN = "begin"  # nothing was written: as if it had never been begun
    FINISH = "finish"  # it was being written: verify that, write what is missing, go on
    RESTORE = "restore"  # its old firmware was being put back: go on with that, the new one was judged already


def way(found: DeviceRecord) -> Way:
    """How to go on, by what the journal says."""
    if not found.was_written:
        return Way.BEGIN
    return Way.RESTORE if any(phase.phase is Phase.ROLLBACK for phase in found.uncertain_phases) else Way.FINISH


def is_left_half_done(found: DeviceRecord) -> bool:
    """Whether the board may be on neither firmware, and must be worked on before anything else is."""
    return found.outcome in (Outcome.RUNNING, Outcome.EMERGENCY) and found.was_written


def why_restored(found: DeviceRecord) -> ErrorRecord:
    """The error for which the old firmware was being put back."""
    if found.error is not None:
        return found.error
    failed = (phase.error for phase in reversed(found.uncertain_phases) if phase.phase is not Phase.ROLLBACK)
    message = "it was cut short while its old firmware was being put back"
    return next(filter(None, failed), None) or ErrorRecord(Category.OTHER, INTERRUPTED, message, "", Phase.ROLLBACK)
