"""A run that was cut short goes on where it was: what is done is not done again, what was being written is mended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.control import Control, Order
from harness.journal import Kind, read
from harness.run_log import RunLog
from harness.run_reader import run_facts
from harness.runs import RunFolder
from tests.e2e.project import Project, Result
from tests.e2e.test_interrupted import BOARDS, ended, finish, journal, phase_of, start, wait_until


def batch_flash(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("batch-flash"), *arguments],
        cwd=project.path,
        capture_output=True,
        text=True,
        timeout=60,
    )


def times_started(project: Project, board: str) -> int:
    return sum(event.kind is Kind.STARTED for event in read(journal(project, board)))


def resume(project: Project, *options: str) -> Result:
    return project.run("fleet.yaml", "--resume", "last", "-n", "4", *options)


def test_after_a_power_cut_the_run_goes_on_with_what_is_left(project: Project):
    process = start(project, "-n", "2", times=1)
    wait_until(lambda: ended(project, "ESP32_001"), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert "ESP32_002" in batch_flash(project, "status").stdout.partition("BOARDS IN AN UNKNOWN STATE")[2]

    result = resume(project)
    assert result.returncode == 0, result.output
    assert result.outcomes() == dict.fromkeys(BOARDS, "updated")
    assert all(project.flash(board) == project.new_flash(board) for board in BOARDS)
    assert times_started(project, "ESP32_001") == 1
    assert times_started(project, "ESP32_002") == 2
    assert len(list((project.path / "runs").glob("*-fleet-*"))) == 1


def test_after_the_death_of_the_controller_alone_its_workers_are_waited_for(project: Project):
    process = start(project, "-n", "2", times=1)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    result = resume(project)
    assert result.returncode == 0, result.output
    assert result.outcomes() == dict.fromkeys(BOARDS, "updated")
    assert all(project.flash(board) == project.new_flash(board) for board in BOARDS)


def test_a_run_that_went_well_can_be_taken_back_by_hand(project: Project):
    boards = ["ESP32_001", "ESP8266_001"]
    project.write_batch(boards=boards)
    assert "--take-back needs the run" in project.run("fleet.yaml", "--take-back").output
    assert project.run("fleet.yaml", "-n", "2").returncode == 0

    result = resume(project, "--take-back")
    assert result.returncode == 0, result.output
    assert result.outcomes() == dict.fromkeys(boards, "restored")
    assert all(project.flash(board) == project.old_flash(board) for board in boards)
    assert "ordered it back" in result.report["failed"]


def test_after_ctrl_c_the_boards_that_did_not_start_are_run_and_those_still_left_out_are_no_success(project: Project):
    process = start(project, "-n", "1", times=1)
    os.killpg(process.pid, signal.SIGINT)
    stopped = finish(project, process)
    assert stopped.returncode == 2
    to_go_on = f"go on with it: pytest {project.path / 'fleet.yaml'} --resume {stopped.folder.run_id}"
    assert to_go_on in stopped.output

    part = resume(project, "-k", "ESP32_003")
    assert part.outcomes() == {**dict.fromkeys(BOARDS[:3], "updated"), "ESP32_004": "not-run"}
    assert part.returncode == 1, part.output
    assert part.report["interrupted"] == "1 device that is still open was not chosen when the run was resumed"
    assert to_go_on in part.output
    assert to_go_on in batch_flash(project, "status").stdout

    result = resume(project)
    assert result.returncode == 0, result.output
    assert result.outcomes() == dict.fromkeys(BOARDS, "updated")
    assert result.report["interrupted"] is None


def test_a_board_that_was_cut_short_by_a_second_ctrl_c_is_finished(project: Project):
    process = start(project, "-n", "2", times=1)
    os.killpg(process.pid, signal.SIGINT)
    assert any("no further device is started" in line for line in process.stdout)
    os.killpg(process.pid, signal.SIGINT)
    assert finish(project, process).returncode == 2
    result = resume(project)
    assert result.returncode == 0, result.output
    assert project.flash("ESP32_002") == project.new_flash("ESP32_002")


def test_a_resumed_run_does_what_it_was_begun_with_whatever_the_batch_file_says_now(project: Project):
    process = start(project, "-n", "2", times=1)
    os.killpg(process.pid, signal.SIGTERM)
    finish(project, process)
    project.write_batch(boards=BOARDS[:1], version="9.9.9")
    result = resume(project)
    assert result.returncode == 0, result.output
    assert result.outcomes() == dict.fromkeys(BOARDS, "updated")


def test_an_emergency_that_is_left_out_stays_a_failure_to_the_gates(project: Project):
    project.write_batch(
        boards=BOARDS[:3],
        faults={BOARDS[2]: [{"fault": "panics", "versions": ["1.2.0"]}]},
        rollback_settings={"rollback_on_failure": False},
        quality_gates={"min_success_rate": 50},
    )
    assert project.run("fleet.yaml", "-n", "3").outcomes()[BOARDS[2]] == "emergency"
    result = resume(project, "-k", BOARDS[0])
    assert result.returncode == 1, result.output
    assert "min_success_rate: 66.67 %, at least 50 % wanted (2 of 3 devices, 1 failed)" in result.output


def test_a_run_that_is_done_has_nothing_left_to_do(project: Project):
    project.write_batch(boards=BOARDS[:2])
    assert project.run("fleet.yaml", "-n", "2").returncode == 0
    result = resume(project)
    assert result.returncode == 0, result.output
    assert result.outcomes() == dict.fromkeys(BOARDS[:2], "updated")
    assert times_started(project, BOARDS[0]) == 1
    assert "--resume" not in batch_flash(project, "status").stdout, "the reports are those of its end"
    RunLog(result.folder).close()  # resumed once more, and killed before its end
    assert "its reports were not written" in batch_flash(project, "status").stdout


def test_only_the_boards_that_the_run_had_chosen_are_run(project: Project):
    process = start(project, "-n", "1", "-k", "ESP32_002 or ESP32_003", times=1)
    os.killpg(process.pid, signal.SIGINT)
    finish(project, process)
    assert resume(project).outcomes() == {"ESP32_002": "updated", "ESP32_003": "updated"}


def test_a_run_that_is_going_on_can_not_be_resumed_but_shown_and_cancelled(project: Project):
    process = start(project, "-n", "1", times=3)
    refused = resume(project)
    assert refused.returncode == 4
    assert "is still going on" in refused.output
    shown = batch_flash(project, "status")
    assert "going on" in shown.stdout
    assert "… ESP32_002: " in shown.stdout
    os.kill(process.pid, signal.SIGSTOP)  # a busy machine: it hears of the order and of the board's end at once
    told = batch_flash(project, "cancel", "last")
    assert told.returncode == 0, told.stderr
    wait_until(lambda: ended(project, "ESP32_002"), process)
    os.kill(process.pid, signal.SIGCONT)
    result = finish(project, process)
    assert result.returncode == 2, result.output
    assert list(result.outcomes().values()) == ["updated", "updated", "not-run", "not-run"]
    assert "the run was cancelled by" in result.device("ESP32_003")["reason"]
    assert "go on with it: pytest" in batch_flash(project, "status").stdout
    assert batch_flash(project, "cancel", "last").returncode == 1


def test_a_new_run_in_place_of_a_resumed_one_knows_what_the_half_written_board_had(project: Project):
    kept = {"factory": str(project.factory("esp32")), "keep": True}
    slow = {**kept, "faults": [{"fault": "slow-erase", "seconds": 6, "times": 1}]}
    project.write_batch(boards=BOARDS[1:2], targets={"ESP32_002": {"virtual": slow}})
    process = project.start("fleet.yaml")
    wait_until(lambda: phase_of(project, "ESP32_002") == "flash", process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    cut_short = journal(project, "ESP32_002").parents[1].resolve().name

    project.write_batch(boards=BOARDS[1:2], targets={"ESP32_002": {"virtual": kept}})
    result = project.run("fleet.yaml")
    assert result.returncode == 0, result.output
    assert f"ESP32_002: left half-written by run {cut_short}, whose backup of it stands" in result.output
    assert result.device("ESP32_002")["version_before"] == "1.1.0"
    backup = project.store.load(result.folder.run_id, "ESP32_002")
    assert project.store.content(backup) == project.old_flash("ESP32_002")
    again = project.run("fleet.yaml")
    assert "left half-written" not in again.output


def test_a_run_for_which_no_board_was_chosen_is_not_resumed_with_all_of_them(project: Project):
    project.write_batch(boards=BOARDS[:2])
    nothing = project.run("fleet.yaml", "-k", "a-typo")
    assert nothing.returncode == 5
    assert "0 devices of the batch chosen; nothing ran" in nothing.output
    result = resume(project)
    assert not result.outcomes(), result.output
    assert not (project.path / ".bench" / BOARDS[0] / "flash.bin").exists() or (
        project.flash(BOARDS[0]) == project.old_flash(BOARDS[0])
    )


def test_an_order_that_the_run_did_not_live_to_hear_of_does_not_stop_the_resumed_one(project: Project):
    process = start(project, "-n", "2", times=1)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    Control(RunFolder(project.path / "runs" / "latest").control).give(Order.CANCEL)
    result = resume(project)
    assert result.returncode == 0, result.output
    assert result.outcomes() == dict.fromkeys(BOARDS, "updated")


def test_a_run_whose_batch_file_is_gone_is_refused_with_what_to_do_and_does_not_need_its_contents(project: Project):
    process = start(project, "-n", "2", times=1)
    os.killpg(process.pid, signal.SIGTERM)
    finish(project, process)
    batch = project.path / "fleet.yaml"
    batch.unlink()
    refused = resume(project)
    assert refused.returncode == 4
    assert f"touch {batch}" in refused.output
    batch.touch()
    result = resume(project)
    assert result.returncode == 0, result.output
    assert result.outcomes() == dict.fromkeys(BOARDS, "updated")


def test_a_run_whose_boards_a_later_one_has_updated_is_not_gone_on_with(project: Project):
    keep = {board: {"virtual": {"factory": str(project.factory("esp32")), "keep": True}} for board in BOARDS[:2]}
    project.write_batch(boards=BOARDS[:2], targets=keep)
    runs = [project.run("fleet.yaml", "-n", "1", "-k", board).folder.run_id for board in BOARDS[:2]]
    assert project.run("fleet.yaml", "-n", "1", "--resume", runs[0]).returncode == 0, "another board's run is no matter"
    project.write_batch("later.yaml", boards=BOARDS[:2], targets=keep)
    later = project.run("later.yaml", "-n", "2", "--reflash")
    assert later.outcomes() == dict.fromkeys(BOARDS[:2], "updated"), later.output
    refused = project.run("fleet.yaml", "-n", "2", "--resume", runs[0])
    assert refused.returncode == 4
    assert f"later runs have written to boards of run {runs[0]}: {BOARDS[0]}" in refused.output
    kept = project.run("fleet.yaml", "-n", "2", "--resume", runs[0], "--take-back").output
    assert f"later runs have written to boards of run {runs[0]}: {BOARDS[0]}" in kept
    assert "run the batch anew" not in kept, "that would be the opposite"
    assert run_facts(RunFolder(project.path / "runs" / runs[0])).ended, "it stands as it ended"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--resume", "last"], "no run of "),
        (["--resume", "last", "--simulate"], "leave --simulate out"),
        (["--resume", "nonsense"], "no run 'nonsense'"),
    ],
)
def test_what_can_not_be_resumed_is_refused_and_touches_nothing(project: Project, options, said):
    project.write_batch(boards=BOARDS[:1])
    result = project.run("fleet.yaml", *options)
    assert result.returncode == 4
    assert said in result.output


def test_a_run_whose_firmware_is_gone_is_refused(project: Project):
    process = start(project, "-n", "2", times=1)
    assert phase_of(project, "ESP32_002") == "flash"
    os.killpg(process.pid, signal.SIGINT)
    folder = finish(project, process).folder
    next((folder.path / "images").iterdir()).write_bytes(b"other")
    result = resume(project)
    assert result.returncode == 4
    assert "is damaged" in result.output
