"""The exit status follows the gates, or the devices; a board in an unknown state is never good."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.exit_status import is_good
from harness.record import DeviceRecord, Outcome, RunRecord
from harness.rollout.policy import ExitOn
from harness.rollout.state import GateState, RolloutState, Unit, Verdict
from tests.harness.builders import run_of


def run(*outcomes: Outcome, gate: Verdict | None = None, halted: str = "") -> RunRecord:
    devices = [DeviceRecord(f"D{n}", "esp32", "port", outcome=outcome) for n, outcome in enumerate(outcomes)]
    gates = (GateState(name="g", verdict=gate, figure=80, limit=80, unit=Unit.PERCENT),) if gate else ()
    return replace(run_of(devices), rollout=RolloutState(gates=gates, halted=halted))


GOOD, BAD, SKIPPED = Outcome.UPDATED, Outcome.ROLLED_BACK, Outcome.NOT_RUN


@pytest.mark.parametrize(
    ("record", "gates", "devices"),
    [
        (run(GOOD, Outcome.UNCHANGED), True, True),
        (run(GOOD, BAD), False, False),
        (run(GOOD, SKIPPED), True, True),  # in quarantine, or skipped by the lab
        (run(GOOD, BAD, gate=Verdict.PASSED), True, False),
        (run(GOOD, GOOD, gate=Verdict.FAILED), False, True),
        (run(GOOD, SKIPPED, gate=Verdict.OPEN), False, True),
        (run(GOOD, Outcome.EMERGENCY, gate=Verdict.PASSED), False, False),
        (run(GOOD, Outcome.RESTORED), False, False),
        (run(GOOD, SKIPPED, halted="nobody approved"), False, False),
    ],
)
def test_what_a_run_deserves(record: RunRecord, gates: bool, devices: bool):
    assert is_good(record, ExitOn.GATES, complete=True) is gates
    assert is_good(record, ExitOn.DEVICES, complete=True) is devices


def test_a_run_that_missed_devices_is_not_good():
    assert not is_good(run(GOOD, SKIPPED), ExitOn.GATES, complete=False)


@pytest.mark.parametrize("exit_on", ExitOn)
def test_a_board_that_was_to_be_taken_back_and_was_not_is_not_good(exit_on: ExitOn):
    left = replace(run(GOOD).devices[0], restoring=True)
    assert not is_good(replace(run(GOOD), devices=(left,)), exit_on, complete=True)
