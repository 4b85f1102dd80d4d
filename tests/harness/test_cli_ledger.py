"""`batch-flash runs`, `history` and `quarantine`, as a person runs them."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from harness.ledger import Ledger
from harness.record import ErrorRecord, RunRecord
from harness.rollout.state import RolloutState
from tests.harness.builders import BAD, EPOCH, mixed_run, rolled_back, run_of
from tests.harness.test_cli_check import COMMAND, run

DAY_S = 86400.0


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A lab's folder after three runs, without a site file."""
    ledger = Ledger(tmp_path / "runs/ledger.sqlite")
    for record in runs(tmp_path / "journals"):
        ledger.record(record)
        ledger.update_quarantine(record, after=2)
    return tmp_path


def runs(folder: Path) -> list[RunRecord]:
    base = replace(mixed_run(folder), interrupted="")
    halted = RolloutState(halted="wave 1: min_success_rate")
    changes = (
        {"rehearsal": True},
        {"rollout": halted},
        {"ended": None, "interrupted": "the run was stopped by Ctrl-C"},
    )
    return [
        replace(
            base, run_id=f"run-{day}", **({"started": EPOCH + day * DAY_S, "ended": EPOCH + day * DAY_S + 33} | more)
        )
        for day, more in enumerate(changes)
    ]


def lines(folder: Path, *arguments: str) -> list[str]:
    done = run(folder, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_runs_are_listed_the_newest_first_with_how_they_ended(lab: Path):
    assert lines(lab, "runs") == [
        "run    to       time  devices",
        "run-2  1.2.0       -  3 good, 4 failed, 1 not finished, going on, or killed, the run was stopped by Ctrl-C",
        "run-1  1.2.0  33.0 s  3 good, 4 failed, 1 not run, halted: wave 1: min_success_rate",
        "run-0  1.2.0  33.0 s  3 good, 4 failed, 1 not run, a rehearsal",
    ]
    assert len(lines(lab, "runs", "--limit", "1")) == 2


def test_runs_as_json_have_counts_and_times_in_seconds(lab: Path):
    newest, halted, _rehearsal = json.loads("\n".join(lines(lab, "runs", "--json")))
    assert newest["ended"] is None
    assert halted == {
        "run_id": "run-1",
        "batch_name": "Fleet",
        "version": "1.2.0",
        "started": EPOCH + DAY_S,
        "ended": EPOCH + DAY_S + 33,
        "simulated": False,
        "rehearsal": False,
        "interrupted": "",
        "halted": "wave 1: min_success_rate",
        "total_count": 8,
        "success_count": 3,
        "failure_count": 4,
        "restored_count": 0,
    }


def test_a_devices_history_tells_each_run(lab: Path):
    why = "rolled back, {}verify: the flash at 0x10000 does not hold app.bin"
    assert lines(lab, "history", "ESP32_004") == [
        "run    port          firmware         time  outcome",
        f"run-2  /dev/ttyUSB4  1.1.0 → 1.1.0  21.6 s  {why.format('')}",
        f"run-1  /dev/ttyUSB4  1.1.0 → 1.1.0  21.6 s  {why.format('')}",
        f"run-0  /dev/ttyUSB4  1.1.0 → 1.1.0  21.6 s  {why.format('a rehearsal, ')}",
    ]


def test_a_ports_history_names_the_devices(lab: Path):
    assert lines(lab, "history", "--port", "/dev/ttyUSB2", "--limit", "1") == [
        "run    device     firmware         time  outcome",
        "run-2  ESP32_002  1.1.0 → 1.2.0  32.0 s  updated, 2 attempts",
    ]


def test_a_history_as_json_has_the_error_and_what_became_of_the_update(lab: Path):
    newest = json.loads("\n".join(lines(lab, "history", "ESP32_004", "--json", "--limit", "1")))
    assert len(newest) == 1
    assert (newest[0]["run_id"], newest[0]["outcome"], newest[0]["update_outcome"]) == (
        "run-2",
        "rolled-back",
        "rolled-back",
    )
    assert ErrorRecord.from_json(newest[0]["error"]) == BAD


@pytest.mark.parametrize("json_option", [(), ("--json",)])
def test_what_no_run_knows_of_is_status_1(lab: Path, json_option: tuple[str, ...]):
    done = run(lab, "history", "--port", "/dev/ttyUSB99", *json_option)
    assert (done.returncode, done.stderr) == (1, "no run is known of /dev/ttyUSB99\n")
    assert done.stdout == ("[]\n" if json_option else "")


@pytest.mark.parametrize("arguments", [(), ("ESP32_001", "--port", "/dev/ttyUSB0")])
def test_a_history_is_of_a_device_or_of_a_port(lab: Path, arguments: tuple[str, ...]):
    assert "give a DEVICE or a --port" in run(lab, "history", *arguments).stderr


def test_devices_in_quarantine_are_listed_with_the_reason_and_can_be_released(lab: Path):
    reason = "failed in 2 runs in a row; the last time: "
    assert lines(lab, "quarantine", "list") == [
        "device     by run  why",
        f"ESP32_004  run-2   {reason}the flash at 0x10000 does not hold app.bin",
        f"ESP32_005  run-2   {reason}No serial data received.",
        f"ESP32_006  run-2   {reason}the flash at 0x10000 does not hold app.bin",
    ]
    assert lines(lab, "quarantine", "release", "ESP32_004", "ESP32_006") == [
        "ESP32_004: released",
        "ESP32_006: released",
    ]
    assert [entry["device_id"] for entry in json.loads("\n".join(lines(lab, "quarantine", "list", "--json")))] == [
        "ESP32_005"
    ]


def test_releasing_a_device_that_is_not_in_quarantine_is_status_1_and_releases_the_others(lab: Path):
    done = run(lab, "quarantine", "release", "ESP32_001", "ESP32_004")
    assert (done.returncode, done.stdout, done.stderr) == (
        1,
        "ESP32_004: released\n",
        "ESP32_001: is not in quarantine\n",
    )


def test_an_empty_ledger_has_nothing_to_show_and_that_is_no_error(tmp_path: Path):
    Ledger(tmp_path / "runs/ledger.sqlite")
    assert lines(tmp_path, "runs") == ["no run yet"]
    assert lines(tmp_path, "quarantine", "list") == ["no device is in quarantine"]
    assert lines(tmp_path, "runs", "--json") == lines(tmp_path, "quarantine", "list", "--json") == ["[]"]


COMMANDS = [("runs",), ("history", "D"), ("quarantine", "list"), ("quarantine", "release", "D")]


@pytest.mark.parametrize("arguments", COMMANDS)
def test_without_a_ledger_there_is_one_line_with_status_4_and_none_is_made(tmp_path: Path, arguments: tuple[str, ...]):
    done = run(tmp_path, *arguments)
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr == f"there is no ledger at {tmp_path}/runs/ledger.sqlite yet: the first run makes it\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", COMMANDS)
def test_a_damaged_ledger_is_one_line_with_status_4(lab: Path, arguments: tuple[str, ...]):
    (lab / "runs/ledger.sqlite").write_bytes(b"no database" * 100)
    done = run(lab, *arguments)
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.endswith(
        "; if it is damaged, move it away: the next run begins a new one, and the runs' journals are kept\n"
    )
    assert done.stderr.count("\n") == 1


def test_the_site_file_says_where_the_ledger_is(lab: Path, tmp_path: Path):
    site = tmp_path / "elsewhere/site.yaml"
    site.parent.mkdir()
    site.write_text("storage: {ledger: history.db}\n")
    Ledger(site.parent / "history.db").record(runs(tmp_path / "more")[0])

    assert [line.split()[0] for line in lines(lab, "runs", "--config", "elsewhere/site.yaml")] == ["run", "run-0"]
    (lab / "batch-flash-config.yaml").write_text("storage: {ledger: elsewhere/history.db}\n")
    assert [line.split()[0] for line in lines(lab, "runs")] == ["run", "run-0"]


def test_a_site_file_that_names_a_password_is_refused_with_status_4(lab: Path):
    (lab / "batch-flash-config.yaml").write_text("storage: {ledger: 'postgresql://lab:hunter2@db/ledger'}\n")
    done = run(lab, "runs")
    assert done.returncode == 4
    assert "batch-flash-config.yaml:1:19: storage.ledger: a password must not stand here" in done.stderr
    assert "hunter2" not in done.stderr


def test_what_a_board_has_said_does_not_steer_the_terminal(tmp_path: Path):
    error = replace(BAD, message="\x1b[2Jcleared\nand [bold]loud[/bold]")
    Ledger(tmp_path / "runs/ledger.sqlite").record(run_of([rolled_back(tmp_path, "D_1", error).record()]))

    told = lines(tmp_path, "history", "D_1")[1]
    assert told.endswith(r"verify: \x1b[2Jcleared and [bold]loud[/bold]")


def test_a_person_sees_a_ruled_table_in_colour_that_keeps_to_the_window(lab: Path):
    shown = on_terminal(lab, 80, "history", "ESP32_004")
    assert "─" * 70 in shown
    assert "\x1b[31mrolled back" in shown
    plain = "".join(part.partition("m")[2] for part in f"m{shown}".split("\x1b["))
    assert max(len(line) for line in plain.splitlines()) <= 80
    assert " run-2   /dev/ttyUSB4" in plain


def on_terminal(folder: Path, columns: int, *arguments: str) -> str:
    """What a person sees whose window is so wide."""
    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(columns)}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen([COMMAND, *arguments], cwd=folder, stdout=follower, env=environment)
    os.close(follower)
    shown = b""
    try:
        while chunk := os.read(leader, 4096):
            shown += chunk
    except OSError:  # Linux's end of a terminal
        pass
    os.close(leader)
    assert process.wait(timeout=60) == 0
    return shown.decode().replace("\r\n", "\n")
