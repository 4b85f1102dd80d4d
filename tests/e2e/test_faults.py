"""A fleet of eight with two bad boards: the six good ones are updated, the two end restored or named, truthfully."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.project import BOARDS, Project, Result

BAD = ("ESP32_003", "ESP8266_002")
GOOD = tuple(board for board in BOARDS if board not in BAD)
QUICK = {"retry_delay": 0.1, "max_retry_attempts": 1}


@dataclass(frozen=True)
class Case:
    """A fault, and how its boards must end: outcome, category of the error, attempts.

    One that passes may take some more on a busy machine, which does not give each tool its turn in time.
    """

    fault: dict[str, Any]
    outcome: str
    category: str | None
    attempts: int

    @property
    def passes(self) -> bool:
        return self.outcome == "updated"


CASES = {
    "silent line": Case({"fault": "silent"}, "untouched", "connection", 2),
    "stuck in the app": Case({"fault": "stuck-in-app"}, "untouched", "connection", 2),
    "wrong chip": Case({"fault": "wrong-chip", "chip": "esp32c3"}, "untouched", "other", 1),
    "wrong md5": Case({"fault": "wrong-md5"}, "untouched", "verification", 2),
    "line drops once": Case({"fault": "line-drop", "after_bytes": 40_000, "times": 1}, "updated", None, 2),
    "power lost and back": Case({"fault": "power-loss", "at_byte": 100_000, "off_s": 1}, "updated", None, 2),
    "power lost for good": Case({"fault": "power-loss", "at_byte": 100_000}, "emergency", "connection", 2),
    "erase too slow once": Case({"fault": "slow-erase", "seconds": 6, "times": 1}, "updated", None, 2),
}


def run_with(project: Project, fault: dict[str, Any], retries: int = 1) -> Result:
    project.write_batch(
        faults={board: [fault] for board in BAD},
        error_handling=QUICK | {"max_retry_attempts": retries},
        flash_settings={"phase_timeouts": {"flash": 5}},
    )
    return project.run("fleet.yaml", "-n", "8")


def check_flash_agrees(project: Project, result: Result) -> None:
    for board, outcome in result.outcomes().items():
        if outcome in ("updated", "unchanged"):
            assert project.flash(board) == project.new_flash(board), board
        elif outcome in ("rolled-back", "untouched"):
            assert project.flash(board) == project.old_flash(board), board


@pytest.mark.parametrize("name", CASES)
def test_two_bad_boards_do_not_harm_the_others(project: Project, name: str):
    case = CASES[name]
    result = run_with(project, case.fault, retries=3 if case.passes else 1)
    outcomes = result.outcomes()
    assert {board: outcomes[board] for board in GOOD} == dict.fromkeys(GOOD, "updated"), result.output
    assert {board: outcomes[board] for board in BAD} == dict.fromkeys(BAD, case.outcome), result.output
    for board in BAD:
        device = result.device(board)
        assert len(device["attempts"]) == case.attempts or (case.passes and len(device["attempts"]) > case.attempts)
        if case.category:
            assert device["error"]["category"] == case.category
        else:
            assert device["attempts"][0]["error"] is not None
    assert result.returncode == (0 if case.passes else 1)
    check_flash_agrees(project, result)
    check_the_last_words(result)


def check_the_last_words(result: Result) -> None:
    """Boards in an unknown state, and no others, are named in a block of their own at the end."""
    unknown = {board for board, outcome in result.outcomes().items() if outcome == "emergency"}
    *_, block = result.output.split("BOARDS IN AN UNKNOWN STATE")
    assert (block != result.output) == bool(unknown)
    if unknown:
        assert {board for board in BOARDS if board in block} == unknown


@pytest.mark.parametrize("rate", [0.00002, 0.002])
def test_noise_on_the_line_never_makes_a_report_lie(project: Project, rate: float):
    result = run_with(project, {"fault": "bit-errors", "rate": rate})
    outcomes = result.outcomes()
    assert {board: outcomes[board] for board in GOOD} == dict.fromkeys(GOOD, "updated"), result.output
    check_flash_agrees(project, result)


def test_firmware_that_does_not_start_is_rolled_back_on_every_board(project: Project):
    noboot = str(project.firmware / "demo-esp32-1.3.0-noboot.bin")
    boards = BOARDS[:3]
    project.write_batch(boards=boards, version="1.3.0", targets={board: {"firmware_file": noboot} for board in boards})
    result = project.run("fleet.yaml", "-n", "3")
    assert result.returncode == 1
    assert result.outcomes() == dict.fromkeys(boards, "rolled-back"), result.output
    for board in boards:
        assert project.flash(board) == project.old_flash(board)
        device = result.device(board)
        assert device["version_after"] == "1.1.0"
        assert device["error"]["category"] == "verification"
    assert "back on 1.1.0" in result.output


def test_a_dead_board_does_not_hold_up_the_others(project: Project):
    boards = BOARDS[:4]  # a dead one is tried for half a minute, and three that are well take a few seconds
    project.write_batch(
        boards=boards,
        faults={"ESP32_001": [{"fault": "silent"}]},
        error_handling=QUICK,
        flash_settings={"max_retries": 1},
    )
    result = project.run("fleet.yaml", "-n", "2")
    ended = {board: result.device(board)["ended"] for board in boards}
    assert max(ended, key=ended.get) == "ESP32_001"
