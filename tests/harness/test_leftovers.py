"""A board is half-written until a later run, or the resumed one, has said which firmware it is on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.ledger import Ledger
from harness.leftovers import left_half_written
from harness.plan import Overrides, Plan
from harness.record import DeviceRecord, Outcome
from tests.harness.builders import EPOCH, Story, emergency, run_of, untouched, updated
from tests.harness.lab import Lab

TWO = """\
name: Two
device_type: esp32
firmware_file: app.bin
targets:
  - {device_id: ESP32_001, connection_info: {port: /dev/ttyUSB1}}
  - {device_id: ESP32_002, connection_info: {port: virtual}, virtual: {keep: false}}
"""

SITE = "storage: {runs_dir: runs}\n"


@pytest.fixture
def plan(lab: Lab) -> Plan:
    return lab.plan(TWO, SITE)


def record(plan: Plan, run_id: str, at: float, *devices: DeviceRecord, **changes) -> None:
    Ledger(plan.ledger).record(run_of(devices, run_id=run_id, started=EPOCH + at, **changes))


def cut_short(plan: Plan, run_id: str, at: float, device_id: str = "ESP32_001") -> None:
    """A run that was killed in the middle of a write: the ledger knows its beginning, the journal the rest."""
    folder = plan.runs_dir / run_id / "devices"
    Story(folder, device_id).starts().attempt().identified().flashed()
    record(plan, run_id, at, DeviceRecord(device_id, "esp32", "port"), ended=None)


def test_a_board_that_no_run_has_touched_is_not(plan: Plan):
    assert left_half_written(plan) == {}


def test_an_emergency_of_the_last_run_is(plan: Plan, lab: Lab):
    record(plan, "first", 0, emergency(lab.folder / "a", "ESP32_001").record())
    assert left_half_written(plan) == {"ESP32_001": "first"}


def test_what_a_killed_run_was_writing_is(plan: Plan):
    cut_short(plan, "killed", 0)
    assert left_half_written(plan) == {"ESP32_001": "killed"}


@pytest.mark.parametrize("later", [updated, untouched])
def test_a_later_run_that_knows_settles_it(plan: Plan, lab: Lab, later):
    cut_short(plan, "killed", 0)
    record(plan, "later", 10, later(lab.folder / "b", "ESP32_001").record())
    assert left_half_written(plan) == {}


def test_a_later_run_that_did_not_come_to_it_settles_nothing(plan: Plan, lab: Lab):
    record(plan, "first", 0, emergency(lab.folder / "a", "ESP32_001").record())
    record(plan, "second", 10, replace(DeviceRecord("ESP32_001", "esp32", "port"), outcome=Outcome.NOT_RUN))
    assert left_half_written(plan) == {"ESP32_001": "first"}


def test_a_board_that_is_made_anew_with_each_run_never_is(plan: Plan):
    cut_short(plan, "killed", 0, "ESP32_002")
    assert left_half_written(plan) == {}


def test_a_rehearsal_neither_asks_nor_counts(plan: Plan, lab: Lab):
    record(plan, "rehearsed", 0, emergency(lab.folder / "a", "ESP32_001").record(), rehearsal=True)
    assert left_half_written(plan) == {}
    cut_short(plan, "killed", 5)
    assert left_half_written(lab.plan(TWO, SITE, Overrides(simulate=True))) == {}
