"""A run's folder tells the run to anybody: while it goes on, when it has ended, and when it was cut short."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.journal import Event, Journal, Kind, is_being_written
from harness.record import Outcome, RunNote
from harness.rollout.state import RolloutState, WaveState, WaveStatus
from harness.run_log import RunLog
from harness.run_reader import RunFacts, blank, fold_run, run_facts, run_record
from harness.runs import RunFolder
from harness.snapshot import Plan
from tests.harness.builders import Story, updated
from tests.harness.full_disk import files_end_at
from tests.harness.lab import Lab
from tests.harness.procedure_bench import plan as device_plan

TWO = """\
name: Two
device_type: esp32
firmware_file: app.bin
targets:
  - {device_id: ESP32_001, connection_info: {port: /dev/ttyUSB1}}
  - {device_id: ESP32_002, connection_info: {port: /dev/ttyUSB2}}
  - {device_id: ESP32_003, connection_info: {port: /dev/ttyUSB3}}
"""


@pytest.fixture
def plan(lab: Lab) -> Plan:
    return lab.plan(TWO)


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "20261101-100000-two-aaaa")


def outcomes(folder: RunFolder, plan: Plan, *, is_live: bool) -> dict[str, str]:
    return {d.device_id: str(d.outcome) for d in run_record(folder, plan, is_live=is_live).devices}


def test_a_run_that_goes_on_is_told_as_it_is(folder: RunFolder, plan: Plan):
    log = RunLog(folder)
    assert is_being_written(folder.run_journal)
    log.tell(Kind.CHOSEN, devices=["ESP32_001", "ESP32_002"])
    state = RolloutState(waves=(WaveState(number=1, devices=("ESP32_001",), status=WaveStatus.RUNNING),))
    log.tell(Kind.ROLLOUT, state=RolloutState().model_dump(mode="json"))
    log.tell(Kind.ROLLOUT, state=state.model_dump(mode="json"))
    log.tell(Kind.NOTE, text="wave 1 of 2 starts", loud=False)
    updated(folder.path / "devices")
    Story(folder.path / "devices", "ESP32_002").starts()

    record = run_record(folder, plan, is_live=True)
    assert outcomes(folder, plan, is_live=True) == {"ESP32_001": "updated", "ESP32_002": "running"}
    assert record.rollout == state
    assert [note.text for note in record.notes] == ["wave 1 of 2 starts"]
    assert record.ended is None
    log.close()
    assert not is_being_written(folder.run_journal)


def test_a_device_whose_turn_has_not_come_in_a_run_that_goes_on_is_not_said_to_have_missed_it(folder: RunFolder, plan):
    log = RunLog(folder)
    (reason,) = {device.reason for device in run_record(folder, plan, is_live=True).devices}
    assert reason == "the run is still going on"
    log.close()
    (reason,) = {device.reason for device in run_record(folder, plan, is_live=False).devices}
    assert reason == "the run was cut short"


def test_a_run_that_was_cut_short_says_so_of_each_device(folder: RunFolder, plan: Plan):
    RunLog(folder).close()
    Story(folder.path / "devices", "ESP32_001").starts().attempt().identified()
    record = run_record(folder, plan, is_live=False)
    assert {d.device_id: (d.outcome, d.reason) for d in record.devices} == {
        "ESP32_001": (Outcome.UNTOUCHED, "the run was cut short"),
        "ESP32_002": (Outcome.NOT_RUN, "the run was cut short"),
        "ESP32_003": (Outcome.NOT_RUN, "the run was cut short"),
    }


def test_a_run_that_has_ended_keeps_its_reasons(folder: RunFolder, plan: Plan):
    log = RunLog(folder)
    log.tell(Kind.RUN_ENDED, interrupted="", why_open={"ESP32_002": "in quarantine"})
    log.close()
    record = run_record(folder, plan, is_live=False)
    assert [device.reason for device in record.devices][1] == "in quarantine"
    assert record.ended is not None


def test_a_run_that_goes_on_again_has_no_end_and_its_first_beginning(folder: RunFolder, plan: Plan):
    log = RunLog(folder)
    log.tell(Kind.RUN_ENDED, interrupted="Ctrl-C", why_open={})
    log.close()
    began = run_facts(folder).started
    RunLog(folder).close()
    facts = run_facts(folder)
    assert (facts.started, facts.ended, facts.interrupted) == (began, None, "")


def test_two_controllers_can_not_have_one_run(folder: RunFolder):
    log = RunLog(folder)
    with pytest.raises(OSError, match="another process still writes this journal"):
        RunLog(folder)
    log.close()
    RunLog(folder).close()


def test_a_full_disk_ends_no_run_and_is_remembered(folder: RunFolder):
    log = RunLog(folder)
    with files_end_at(folder.run_journal.stat().st_size):
        assert not log.tell(Kind.NOTE, text="lost", loud=False)
    assert "the run's journal could not be written" in log.fault
    assert log.tell(Kind.NOTE, text="told", loud=False)
    log.close()
    assert [note.text for note in run_facts(folder).notes] == ["told"]


values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(
    kind=st.sampled_from(list(Kind)),
    data=st.dictionaries(
        st.sampled_from(["pid", "devices", "text", "loud", "state", "interrupted", "why_open"]), values
    ),
)
def test_no_line_of_a_journal_makes_a_run_unreadable(kind: Kind, data: dict[str, object]):
    facts = fold_run(RunFacts(notes=(RunNote(1.0, "before"),)), Event(2.0, kind, data))
    assert facts.notes[0].text == "before"


def test_a_torn_last_line_is_passed_over(folder: RunFolder):
    with Journal(folder.run_journal) as journal:
        journal.write(Kind.RUN_STARTED, pid=1)
        journal.write(Kind.NOTE, text="one", loud=False)
    with folder.run_journal.open("ab") as file:
        file.write(b'{"at": 1, "event": "note", "te')
    log = RunLog(folder)
    log.tell(Kind.NOTE, text="two", loud=False)
    log.close()
    assert [note.text for note in run_facts(folder).notes] == ["one", "two"]


@pytest.mark.parametrize(
    ("where", "shown"),
    [
        ({"port": "net://sensor:80"}, "sensor:80"),
        ({"port": "rfc2217://rack:4000"}, "rfc2217://rack:4000"),
        ({"port": "", "mount_point": "/media/RPI-RP2"}, "/media/RPI-RP2"),
    ],
)
def test_a_board_is_shown_at_the_place_that_the_batch_names(where: dict[str, str], shown: str):
    assert blank(device_plan(**where)).port == shown
