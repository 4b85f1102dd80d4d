"""Rollouts in waves: bad firmware is stopped in the wave that shows it and taken back; limits hold whatever `-n` is."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from html import unescape
from pathlib import Path

import pytest

from harness.journal import Kind, read
from harness.ledger import Ledger
from harness.rollout.state import RolloutState, WaveStatus
from harness.run_reader import run_facts
from harness.runs import RunFolder
from tests.e2e.project import Project, Result
from tests.e2e.test_interrupted import finish, journal, phase_of, phases, wait_until
from tests.e2e.test_resume import batch_flash

ROOT = Path(__file__).parents[2]
FORTY = (*(f"ESP32_{n:03}" for n in range(1, 33)), *(f"ESP8266_{n:03}" for n in range(1, 9)))
WAVES = (FORTY[:1], FORTY[1:6], FORTY[6:16], FORTY[16:])
HUBS = {f"hub-{n}": FORTY[10 * n - 10 : 10 * n] for n in range(1, 5)}
A_FIFTH = tuple(FORTY[n] for n in (7, 8, 13, 18, 22, 28, 33, 39))
AT_ONCE, AT_ONCE_ON_A_HUB = 5, 3
PANICS = [{"fault": "panics", "versions": ["1.2.0"]}]
SOME = ("ESP32_001", "ESP32_002", "ESP8266_001", "ESP8266_002")
PAIR = ("ESP32_001", "ESP32_002")


def test_firmware_that_panics_on_a_fifth_of_40_boards_is_stopped_in_the_third_wave_and_taken_back(project: Project):
    project.write_batch(
        boards=FORTY,
        faults=dict.fromkeys(A_FIFTH, PANICS),
        targets={board: {"groups": [hub]} for hub, boards in HUBS.items() for board in boards},
        groups={hub: {"max_concurrent": AT_ONCE_ON_A_HUB} for hub in HUBS},
        virtual={"flash_size": 2 << 20},
        strategy="gradual",
        waves=[1, 5, 10, 24],
        max_concurrent=AT_ONCE,
    )
    result = project.run("fleet.yaml", "-n", "8")
    assert result.returncode == 1, result.output
    check_outcomes(result)
    check_flash_and_ledger(result)
    check_restores_went_from_the_newest_wave_to_the_oldest(result)
    check_limits(result)
    check_json(result)
    check_junit(result)
    check_terminal(result)
    check_html(result)


def check_outcomes(result: Result) -> None:
    outcomes = result.outcomes()
    third = {board: outcomes[board] for board in WAVES[2]}
    assert {outcomes[board] for board in (*WAVES[0], *WAVES[1])} == {"restored"}, result.output
    assert [board for board in third if third[board] == "rolled-back"] == [b for b in begun(result) if b in A_FIFTH]
    assert list(third.values()).count("rolled-back") >= 2, "the second failure decides: 90 % of 10 are wanted"
    assert set(third.values()) <= {"rolled-back", "restored", "not-run"}, "what had begun was finished"
    assert {outcomes[board] for board in WAVES[3]} == {"not-run"}
    for board in not_run(result):
        assert "wave 3 failed: success_threshold" in result.device(board)["reason"]

    last = re.findall(r"(\d+) (?:passed|failed|restored|skipped)", result.output.splitlines()[-1])
    assert sum(map(int, last)) == len(FORTY), "pytest counts each board once"


def begun(result: Result) -> list[str]:
    return [board for board in FORTY if read(result.folder.journal(board))]


def not_run(result: Result) -> list[str]:
    return [board for board, outcome in result.outcomes().items() if outcome == "not-run"]


def check_flash_and_ledger(result: Result) -> None:
    for board in FORTY:
        assert result.project.flash(board) == result.project.old_flash(board), board
    kept = Ledger(result.folder.load_plan().ledger, create=False).run(result.folder.run_id)
    assert {device.device_id: str(device.outcome) for device in kept.devices} == result.outcomes()


def check_restores_went_from_the_newest_wave_to_the_oldest(result: Result) -> None:
    starts = {
        board: event.at
        for board in begun(result)
        for event in read(result.folder.journal(board))
        if event.kind is Kind.STARTED and event.data["restoring"]
    }
    last_of_third = max(starts[board] for board in WAVES[2] if board in starts)
    assert last_of_third < starts[WAVES[0][0]], "between the two lie the second wave's, which take all places"


def check_limits(result: Result) -> None:
    assert most_at_once(result, FORTY) == AT_ONCE
    assert most_at_once(result, HUBS["hub-1"]) == AT_ONCE_ON_A_HUB
    assert all(most_at_once(result, boards) <= AT_ONCE_ON_A_HUB for boards in HUBS.values())


def most_at_once(result: Result, boards: Iterable[str]) -> int:
    """How many of them were being worked on at the same time, by their journals."""
    steps = {Kind.STARTED: 1, Kind.ENDED: -1}
    events = sorted(
        (event.at, steps[event.kind])
        for board in boards
        for event in read(result.folder.journal(board))
        if event.kind in steps
    )
    now = most = 0
    for _, step in events:
        now += step
        most = max(most, now)
    return most


def check_json(result: Result) -> None:
    report = result.report
    assert report["halted"].startswith("wave 3 failed: success_threshold")
    assert report["restoring"] is True
    assert [wave["status"] for wave in report["waves"]] == ["passed", "passed", "failed", "waiting"]
    assert [len(wave["devices"]) for wave in report["waves"]] == [1, 5, 10, 24]
    third = report["waves"][2]
    (gate,) = third["gates"]
    assert (gate["name"], gate["verdict"], gate["limit"]) == ("success_threshold", "failed", 90)
    assert gate["figure"] == pytest.approx(
        100 * third["success_count"] / (third["success_count"] + third["failure_count"])
    )
    assert {device["version_after"] for device in report["devices"] if device["outcome"] == "restored"} == {"1.1.0"}
    assert {device["update_outcome"] for device in report["devices"] if device["outcome"] == "restored"} == {"updated"}


def check_junit(result: Result) -> None:
    cases = {case.get("name"): case for case in ET.parse(result.folder.junit).getroot().iter("testcase")}
    for board, outcome in result.outcomes().items():
        kind = "failure" if outcome == "rolled-back" else "skipped"
        said = {
            "rolled-back": "Guru Meditation Error",
            "restored": "taken back to 1.1.0",
            "not-run": "wave 3 failed: success_threshold",
        }
        assert said[outcome] in cases[board].find(kind).get("message"), board


def check_terminal(result: Result) -> None:
    outcomes = list(result.outcomes().values())
    back = 40 - outcomes.count("not-run")
    for said in (
        "HALTED: wave 3 failed: success_threshold",
        "wave 2 of 4: 5 devices: 5 updated: passed; 5 restored",
        "wave 4 of 4: 24 devices: not started",
        f"{outcomes.count('restored')} devices: restored, since success_threshold failed in wave 3",
        f"boards: {back} on 1.1.0 ({outcomes.count('rolled-back')} rolled back, {outcomes.count('restored')} restored)",
    ):
        assert said in result.output


def check_html(result: Result) -> None:
    text = re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", result.folder.html.read_text())))
    failed = list(result.outcomes().values()).count("rolled-back")
    assert f"Halted in wave 3 of 4 and taken back: {failed} of 40 devices failed" in text
    assert "taken back, since success_threshold failed in wave 3" in text
    for board in FORTY:
        assert board in text


@pytest.mark.parametrize(
    "options", [["-n", "1"], ["-n", "3"], ["-n", "8"], ["-n", "0"], ["-n", "3", "--dist", "load"]], ids=" ".join
)
def test_a_rollout_ends_the_same_whatever_the_number_of_workers(project: Project, options):
    project.write_batch(
        boards=SOME,
        faults={"ESP8266_001": PANICS},
        strategy="gradual",
        waves=[1, 2, 1],
        success_threshold=60,
    )
    result = project.run("fleet.yaml", *options)
    assert result.returncode == 1, result.output
    assert result.outcomes() == {
        "ESP32_001": "restored",
        "ESP32_002": "restored",
        "ESP8266_001": "rolled-back",
        "ESP8266_002": "not-run",
    }
    assert all(project.flash(board) == project.old_flash(board) for board in SOME)


def killed_while_restoring(project: Project) -> None:
    """One wave was updated when ESP8266_001 failed the second; killed with ESP32_002 half restored."""
    project.write_batch(
        boards=SOME,
        faults={"ESP8266_001": PANICS, "ESP32_002": [{"fault": "slow-erase", "seconds": 0.5}]},
        targets={board: {"groups": ["hub-1"]} for board in PAIR},  # which are taken back one after the other
        groups={"hub-1": {"max_concurrent": 1}},
        strategy="gradual",
        waves=[2, 1, 1],
    )
    process = project.start("fleet.yaml", "-n", "2")
    wait_until(lambda: phase_of(project, "ESP32_002") == "rollback", process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def test_a_rollout_that_a_gate_had_failed_stays_so_however_often_it_is_resumed(project: Project):
    killed_while_restoring(project)
    resumed = ("fleet.yaml", "--resume", "last", "-n", "2")
    result = project.run(*resumed, "-k", "ESP32_002")
    assert result.returncode == 1, result.output
    assert (result.outcomes()["ESP32_001"], result.outcomes()["ESP32_002"]) == ("updated", "restored")
    assert "not restored: its turn never came" in result.output
    assert "go on with it: pytest" in batch_flash(project, "status").stdout

    result = project.run(*resumed)
    assert result.returncode == 1, result.output
    assert result.outcomes() == {
        "ESP32_001": "restored",
        "ESP32_002": "restored",
        "ESP8266_001": "rolled-back",
        "ESP8266_002": "not-run",
    }
    assert all(project.flash(board) == project.old_flash(board) for board in SOME)
    assert not read(journal(project, "ESP8266_002")), "nothing further is updated"
    assert result.report["failed"].startswith("wave 2 failed: success_threshold")
    assert result.device("ESP8266_002")["reason"] == result.report["failed"]
    assert [wave["status"] for wave in result.report["waves"]] == ["passed", "failed", "waiting"]
    assert "go on with it" not in batch_flash(project, "status").stdout, "there is nothing left to do"


def in_two_waves(project: Project, **keys: object) -> subprocess.Popen[str]:
    project.write_batch(boards=PAIR, strategy="gradual", waves=[1, 1], **keys)
    return project.start("fleet.yaml", "-n", "2")


def rollout(project: Project) -> RolloutState:
    return run_facts(RunFolder(project.path / "runs" / "latest")).rollout


def first_wave_is(project: Project, *statuses: WaveStatus) -> bool:
    waves = rollout(project).waves
    return bool(waves) and waves[0].status in statuses


def test_a_wave_that_passed_soaks_before_the_next_one_starts(project: Project):
    result = finish(project, in_two_waves(project, soak=2))
    assert result.returncode == 0, result.output
    first, second = result.report["waves"]
    started = min(phase["started"] for phase in result.device("ESP32_002")["phases"])
    assert started - first["ended"] >= 2
    assert second["status"] == "passed"


A_CLOCK_THAT_IS_SET = """
import pathlib
import time

pytest_plugins = ["harness.plugin"]
ahead, real = pathlib.Path(__file__).with_name("ahead"), time.time
time.time = lambda: real() + (float(ahead.read_text()) if ahead.exists() else 0)
"""


def test_a_clock_that_is_set_during_a_run_lengthens_no_soak_and_fails_no_gate_on_times(project: Project):
    (project.path / "conftest.py").write_text(A_CLOCK_THAT_IS_SET)
    process = in_two_waves(
        project,
        soak=2,
        performance_thresholds={"max_flash_time": 60, "min_flash_time": 0.0001},
        faults={"ESP32_002": [{"fault": "slow-erase", "seconds": 1, "times": 1}]},
    )
    wait_until(lambda: first_wave_is(project, WaveStatus.SOAKING, WaveStatus.PASSED), process)
    (project.path / "ahead").write_text("-3600")
    wait_until(lambda: "flash" in phases(project, "ESP32_002"), process)
    (project.path / "ahead").write_text("3600")
    result = finish(project, process)
    assert result.returncode == 0, result.output
    assert result.outcomes() == dict.fromkeys(PAIR, "updated")
    assert 0 < result.report["summary"]["total_time"] < 3600


def test_a_wave_that_awaits_approval_goes_on_when_it_is_approved(project: Project):
    process = in_two_waves(project, soak=0.5, approve=True)
    wait_until(lambda: first_wave_is(project, WaveStatus.AWAITING_APPROVAL), process)
    assert "awaiting approval" in batch_flash(project, "status").stdout
    approved = batch_flash(project, "approve", "last")
    assert approved.returncode == 0, approved.stderr
    result = finish(project, process)
    assert result.returncode == 0, result.output
    assert result.outcomes() == dict.fromkeys(PAIR, "updated")
    assert "approved by" in result.output


def test_an_approval_that_does_not_come_halts_the_rollout_and_takes_nothing_back(project: Project):
    result = finish(project, in_two_waves(project, approve=True, approval_timeout=1))
    assert result.returncode == 1, result.output
    assert result.outcomes() == {"ESP32_001": "updated", "ESP32_002": "not-run"}
    assert "approv" in result.device("ESP32_002")["reason"]
    assert "HALTED" in result.output
    assert "go on with it: pytest" in result.output


def test_a_rollout_that_is_cancelled_while_it_soaks_ends_at_once(project: Project):
    process = in_two_waves(project, soak=600)
    wait_until(lambda: first_wave_is(project, WaveStatus.SOAKING), process)
    told = batch_flash(project, "cancel", "last")
    assert told.returncode == 0, told.stderr
    result = finish(project, process)
    assert result.returncode == 2, result.output
    assert result.outcomes() == {"ESP32_001": "updated", "ESP32_002": "not-run"}
    assert "the run was cancelled by" in result.device("ESP32_002")["reason"]


def test_a_hub_on_which_board_after_board_fails_is_given_up_and_the_others_go_on(project: Project):
    bad, good = FORTY[:5], FORTY[5:7]
    project.write_batch(
        boards=(*bad, *good),
        faults={board: [{"fault": "wrong-chip", "chip": "esp32c3"}] for board in bad},
        targets={board: {"groups": ["hub-1" if board in bad else "hub-2"]} for board in (*bad, *good)},
        groups={"hub-1": {"max_concurrent": 1}, "hub-2": {"max_concurrent": 1}},
        error_handling={"breaker_failures": 3, "breaker_pause": 1},
    )
    result = project.run("fleet.yaml", "-n", "2")
    assert result.returncode == 1, result.output
    assert list(result.outcomes().values()) == [*["untouched"] * 4, "not-run", "updated", "updated"], result.output
    assert "hub-1" in result.device(bad[4])["reason"]
    assert [group["status"] for group in result.report["groups"]] == ["given-up"]
    assert "go on with it: pytest" in result.output


def test_the_example_to_copy_is_a_good_batch(project: Project):
    copied = project.path / "batches" / "gradual.yaml"
    copied.parent.mkdir()
    copied.write_bytes((ROOT / "batches" / "gradual.yaml").read_bytes())
    (project.path / "build").mkdir()
    (project.path / "build" / "demo").symlink_to(project.firmware)
    checked = batch_flash(project, "check", "batches/gradual.yaml")
    assert "good: 12 devices" in checked.stdout, checked.stdout + checked.stderr
