"""The ledger gives back what it was told, in each kind of database."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from harness.ledger import Ledger, LedgerError
from harness.record import DeviceRecord, Outcome, RunNote, RunRecord
from harness.rollout.state import GateState, RolloutState, Unit, Verdict, WaveState, WaveStatus
from tests.harness.builders import EPOCH, mixed_run, not_run, run_of, updated


def as_kept(run: RunRecord) -> RunRecord:
    """Log, console and live progress stay in the journals."""
    return replace(run, devices=tuple(_device_as_kept(device) for device in run.devices))


def _device_as_kept(device: DeviceRecord) -> DeviceRecord:
    phases = tuple(replace(phase, done=0, total=0) for phase in device.phases)
    return replace(device, phases=phases, log=(), console="")


def rolled_out(run: RunRecord) -> RunRecord:
    """The run in two waves, the second of which was halted."""
    gate = GateState(
        name="min_success_rate",
        verdict=Verdict.FAILED,
        figure=50.0,
        limit=80.0,
        unit=Unit.PERCENT,
        detail="2 of 4 devices, 2 failed",
    )
    ids = tuple(device.device_id for device in run.devices)
    waves = (
        WaveState(number=1, devices=ids[:4], status=WaveStatus.FAILED, gates=(gate,), started=EPOCH, ended=EPOCH + 9),
        WaveState(number=2, devices=ids[4:]),
    )
    return replace(
        run,
        rehearsal=True,
        rollout=RolloutState(waves=waves, gates=(gate,), halted="wave 1: min_success_rate", restoring=True),
        notes=(RunNote(EPOCH + 5, "gw1 died"), RunNote(EPOCH + 9, "the rollout is halted", loud=True)),
    )


def test_a_run_comes_back_as_it_was_recorded(ledger: Ledger, run: RunRecord):
    ledger.record(run)

    assert ledger.run(run.run_id) == as_kept(run)


def test_a_rollout_comes_back_with_its_waves_gates_and_notes(ledger: Ledger, run: RunRecord):
    ledger.record(rolled_out(run))

    assert ledger.run(run.run_id) == as_kept(rolled_out(run))


def test_a_restored_device_keeps_the_outcome_of_its_update(ledger: Ledger, tmp_path: Path):
    device = replace(updated(tmp_path).record(), outcome=Outcome.RESTORED)
    ledger.record(run_of([device]))

    kept = ledger.device_history(device.device_id)[0].device
    assert (kept.outcome, kept.update_outcome) == (Outcome.RESTORED, Outcome.UPDATED)
    assert (ledger.runs()[0].restored_count, ledger.runs()[0].success_count, ledger.runs()[0].rest_count) == (1, 0, 0)


def test_recording_a_run_again_updates_it(ledger: Ledger, run: RunRecord):
    begun = replace(run, ended=None, devices=())
    for stage in (begun, run, run):
        ledger.record(stage)

    assert [(each.run_id, each.ended) for each in ledger.runs()] == [(run.run_id, run.ended)]
    assert ledger.run(run.run_id) == as_kept(run)


def test_nothing_of_a_replaced_run_is_left_behind(ledger: Ledger, run: RunRecord):
    ledger.record(rolled_out(run))
    ledger.record(replace(run, devices=()))

    with ledger._backend.reads.connect() as connection:
        counts = [
            connection.execute(text(f"SELECT count(*) FROM {table}")).scalar()
            for table in ("devices", "attempts", "phases", "events")
        ]
    assert counts == [0, 0, 0, 0]


def test_text_that_no_database_can_hold_is_spelled_out(ledger: Ledger):
    ledger.record(run_of([not_run(reason="half a pair \udcff, a NUL \0, a bell \a")], description="\ud800"))

    kept = ledger.run("20260923-101320-fleet-c0de")
    assert kept is not None
    assert kept.devices[0].reason == "half a pair \\udcff, a NUL \\x00, a bell \a"
    assert kept.description == "\\ud800"


def test_runs_are_listed_the_newest_first(ledger: Ledger, run: RunRecord):
    for n in (2, 1, 3):
        ledger.record(replace(run, run_id=f"run-{n}", started=EPOCH + n))

    assert [each.run_id for each in ledger.runs()] == ["run-3", "run-2", "run-1"]
    assert [each.run_id for each in ledger.runs(limit=1)] == ["run-3"]
    newest = ledger.runs()[0]
    assert (newest.total_count, newest.success_count, newest.failure_count, newest.rest_count) == (8, 3, 4, 1)
    assert (newest.rehearsal, newest.halted, newest.interrupted) == (False, "", "the run was interrupted")


def test_a_list_of_runs_tells_what_halted_them_and_which_were_rehearsals(ledger: Ledger, run: RunRecord):
    ledger.record(rolled_out(run))

    assert (ledger.runs()[0].rehearsal, ledger.runs()[0].halted) == (True, "wave 1: min_success_rate")


def test_a_device_has_a_history_over_runs(ledger: Ledger, run: RunRecord, tmp_path: Path):
    ledger.record(rolled_out(run))
    later = run_of([updated(tmp_path, "ESP32_004").record()], run_id="later", started=EPOCH + 100)
    ledger.record(later)

    history = ledger.device_history("ESP32_004")

    assert [(entry.run_id, str(entry.device.outcome)) for entry in history] == [
        ("later", "updated"),
        (run.run_id, "rolled-back"),
    ]
    assert [(entry.wave, entry.rehearsal, entry.batch_name) for entry in history] == [
        (None, False, "Fleet"),
        (1, True, "Fleet"),
    ]
    assert history[1].device == as_kept(run).devices[3]
    assert ledger.device_history("ESP32_004", limit=1) == history[:1]
    assert ledger.device_history("ESP32_999") == []


def test_a_port_has_a_history_over_devices(ledger: Ledger, tmp_path: Path):
    for n, device_id in enumerate(("ESP32_001", "OTHER_1", "ESP32_002")):
        ledger.record(run_of([updated(tmp_path, device_id).record()], run_id=f"run-{n}", started=EPOCH + n))

    history = ledger.port_history("/dev/ttyUSB1")

    assert [(entry.run_id, entry.device.device_id) for entry in history] == [
        ("run-1", "OTHER_1"),
        ("run-0", "ESP32_001"),
    ]
    assert ledger.port_history("/dev/ttyUSB1", limit=1) == history[:1]
    assert ledger.port_history("/dev/ttyUSB9") == []


def test_a_run_that_nobody_recorded_is_none(ledger: Ledger):
    assert ledger.run("never") is None


def test_what_is_recorded_is_there_for_the_next_process(address: str, run: RunRecord):
    Ledger(address).record(run)
    assert Ledger(address).run(run.run_id) == as_kept(run)


def test_a_question_leaves_no_empty_ledger_behind(address: str, tmp_path: Path):
    for _ in range(2):
        with pytest.raises(LedgerError, match=r"there is no ledger at .* yet: the first run makes it"):
            Ledger(address, create=False)
    assert not (tmp_path / "ledger.db").exists()

    Ledger(address)
    assert Ledger(address, create=False).runs() == []


def test_a_path_and_a_url_of_it_are_the_same_ledger(tmp_path: Path):
    Ledger(f"sqlite:///{tmp_path / 'deep' / 'ledger.db'}").record(mixed_run(tmp_path))
    assert len(Ledger(tmp_path / "deep" / "ledger.db").runs()) == 1


def test_a_path_may_have_any_characters(tmp_path: Path):
    path = tmp_path / "a b?c=%d#é" / "ledger.db"
    Ledger(path)
    assert path.exists()


def test_a_board_is_known_by_its_serial_number_as_the_newest_run_called_it(ledger: Ledger, tmp_path: Path):
    device = updated(tmp_path).record()
    assert device.identity is not None
    serial = device.identity.serial
    for day, name, rehearsal in ((0, "BEFORE", False), (2, "TWIN", True), (1, "NOW", False)):
        again = replace(device, device_id=name)
        ledger.record(run_of([again], run_id=f"run-{day}", started=EPOCH + day, rehearsal=rehearsal))

    assert ledger.device_ids([serial, "unknown"]) == {serial: "NOW"}
    assert ledger.device_ids([]) == {}
