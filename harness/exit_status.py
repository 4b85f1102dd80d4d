"""What exit status a run deserves. Pure; docs/batch-file.md has the table."""

from __future__ import annotations

from harness.record import Outcome, RunRecord
from harness.rollout.policy import ExitOn
from harness.rollout.state import GroupStatus, Verdict


def is_taken_back(run: RunRecord) -> bool:
    """Whether a run that somebody has ordered back left no board on what it had put there, and none in the unknown."""
    return not run.emergencies and not run.with_outcome(Outcome.UPDATED)


def is_good(run: RunRecord, exit_on: ExitOn, *, complete: bool) -> bool:
    """Whether the run may end with status 0. With a board in an unknown state, or one that was to be taken back and was
    not, it never may, whatever the gates allow.

    `complete`: every device that was to run had its turn (quarantine and skips are no turn that was missed).
    """
    given_up = any(group.status is GroupStatus.GIVEN_UP for group in run.rollout.groups)
    left = any(device.restoring for device in run.with_outcome(Outcome.UPDATED))
    if not complete or given_up or left or run.emergencies or run.rollout.halted:
        return False
    if exit_on is ExitOn.GATES and run.rollout.all_gates:
        return run.rollout.verdict is Verdict.PASSED
    return not any(device.outcome.failed or device.outcome is Outcome.RESTORED for device in run.devices)
