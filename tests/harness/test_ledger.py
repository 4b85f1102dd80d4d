"""The ledger keeps every run, whoever else writes at the same time, and says plainly when it can not."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from harness.ledger import Ledger, LedgerError
from harness.ledger.models import SCHEMA_VERSION
from harness.record import DeviceRecord, RunRecord
from tests.harness.builders import EPOCH, mixed_run, run_of, updated

WRITERS = 4
RUNS_EACH = 6

_WRITER = """
import pickle, sys
from dataclasses import replace
from harness.ledger import Ledger

database, number, runs, record = sys.argv[1:]
run = pickle.loads(bytes.fromhex(record))
sys.stdin.readline()  # all writers begin at once
for n in range(int(runs)):
    Ledger(database).record(replace(run, run_id=f"w{number}-{n}"))
"""


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.db")


@pytest.fixture
def run(tmp_path: Path) -> RunRecord:
    return mixed_run(tmp_path / "journals")


def as_kept(run: RunRecord) -> RunRecord:
    """Log, console and live progress stay in the journals."""
    return replace(run, devices=tuple(_device_as_kept(device) for device in run.devices))


def _device_as_kept(device: DeviceRecord) -> DeviceRecord:
    phases = tuple(replace(phase, done=0, total=0) for phase in device.phases)
    return replace(device, phases=phases, log=(), console="")


def test_a_run_comes_back_as_it_was_recorded(ledger: Ledger, run: RunRecord) -> None:
    ledger.record(run)

    assert ledger.run(run.run_id) == as_kept(run)


def test_recording_a_run_again_updates_it(ledger: Ledger, run: RunRecord) -> None:
    begun = replace(run, ended=None, devices=())
    for stage in (begun, run, run):
        ledger.record(stage)

    assert [(each.run_id, each.ended) for each in ledger.runs()] == [(run.run_id, run.ended)]
    assert ledger.run(run.run_id) == as_kept(run)


def test_nothing_of_a_replaced_run_is_left_behind(ledger: Ledger, run: RunRecord, tmp_path: Path) -> None:
    ledger.record(run)
    ledger.record(replace(run, devices=()))

    with sqlite3.connect(tmp_path / "ledger.db") as database:
        counts = [
            database.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in ("devices", "attempts", "phases")
        ]
    assert counts == [0, 0, 0]


def test_runs_are_listed_the_newest_first(ledger: Ledger, run: RunRecord) -> None:
    for n in (2, 1, 3):
        ledger.record(replace(run, run_id=f"run-{n}", started=EPOCH + n))

    assert [each.run_id for each in ledger.runs()] == ["run-3", "run-2", "run-1"]
    assert [each.run_id for each in ledger.runs(limit=1)] == ["run-3"]
    assert (ledger.runs()[0].total_count, ledger.runs()[0].success_count, ledger.runs()[0].failure_count) == (8, 3, 4)


def test_a_device_has_a_history_over_runs(ledger: Ledger, run: RunRecord, tmp_path: Path) -> None:
    ledger.record(run)
    later = run_of([updated(tmp_path, "ESP32_004").record()], run_id="later", started=EPOCH + 100)
    ledger.record(later)

    history = ledger.device_history("ESP32_004")

    assert [(entry.run_id, str(entry.device.outcome)) for entry in history] == [
        ("later", "updated"),
        (run.run_id, "rolled-back"),
    ]
    assert ledger.device_history("ESP32_999") == []


def test_a_run_that_nobody_recorded_is_none(ledger: Ledger) -> None:
    assert ledger.run("never") is None


def test_what_is_recorded_is_there_for_the_next_process(run: RunRecord, tmp_path: Path) -> None:
    first = Ledger(f"sqlite:///{tmp_path / 'deep' / 'ledger.db'}")
    first.record(run)
    first.close()

    assert Ledger(tmp_path / "deep" / "ledger.db").run(run.run_id) == as_kept(run)


def test_runs_that_end_at_the_same_moment_lose_nothing(tmp_path: Path, run: RunRecord) -> None:
    import pickle

    database = tmp_path / "ledger.db"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(database), str(n), str(RUNS_EACH), pickle.dumps(run).hex()],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in range(WRITERS)
    ]
    errors = [writer.communicate("go\n", timeout=120)[1] for writer in _released(writers)]

    assert errors == [""] * WRITERS
    ledger = Ledger(database)
    assert {each.run_id for each in ledger.runs()} == {f"w{w}-{n}" for w in range(WRITERS) for n in range(RUNS_EACH)}
    assert all(len(entry.device.phases) for entry in ledger.device_history("ESP32_001"))
    assert len(ledger.device_history("ESP32_001")) == WRITERS * RUNS_EACH


def _released(writers: list[subprocess.Popen[str]]) -> list[subprocess.Popen[str]]:
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    return writers


def test_a_damaged_file_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"this is no database" * 100)

    with pytest.raises(LedgerError, match=r"ledger\.db can not be used: file is not a database; .* move it away"):
        Ledger(path)


def test_a_folder_that_can_not_be_written_to_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(LedgerError, match=r"can not be used: .*file"):
        Ledger(tmp_path / "file" / "ledger.db")
    with pytest.raises(LedgerError, match="check that the folder can be written to"):
        Ledger(Path("/proc/ledger.db"))  # read-only for root too


def test_a_file_that_can_not_be_opened_any_more_is_one_clear_error(tmp_path: Path, run: RunRecord) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    ledger.close()
    for path in tmp_path.glob("ledger.db*"):
        path.unlink()
    (tmp_path / "ledger.db").mkdir()

    with pytest.raises(LedgerError, match="unable to open"):
        ledger.record(run)


def test_a_ledger_of_a_newer_version_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    Ledger(path).close()
    with sqlite3.connect(path) as database:
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")

    with pytest.raises(LedgerError, match="newer version"):
        Ledger(path)


def test_only_a_sqlite_file_can_be_a_ledger() -> None:
    with pytest.raises(LedgerError, match=r"neither a path"):
        Ledger("nonsense://host/ledger")
