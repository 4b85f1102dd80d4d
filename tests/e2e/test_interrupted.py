"""A run that loses a worker, or is stopped, still tells the truth about every board, in all reports."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from harness.journal import Kind, read
from harness.ledger import Ledger
from harness.run_reader import run_facts, run_record
from harness.runs import RunFolder
from tests.e2e.project import TIMEOUT_S, Project, Result

BOARDS = ("ESP32_001", "ESP32_002", "ESP32_003", "ESP32_004")
WAIT_S = 60
WAITING: dict[str, Any] = {
    "groups": {"hub-1": {"max_concurrent": 1}},
    "targets": {board: {"groups": ["hub-1"]} for board in ("ESP32_002", "ESP32_004")},
}
"""Keys of a batch in which ESP32_004 does not start before ESP32_002 has ended, however fast the others are."""


def wait_until(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Poll a file that another process writes; there is no event to await."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def journal(project: Project, board: str) -> Path:
    return RunFolder(project.path / "runs" / "latest").journal(board)


def phases(project: Project, board: str) -> list[str]:
    """All that it has begun."""
    return [event.data["phase"] for event in read(journal(project, board)) if event.kind is Kind.PHASE_STARTED]


def phase_of(project: Project, board: str) -> str | None:
    return next(reversed(phases(project, board)), None)


def ended(project: Project, board: str) -> bool:
    return any(event.kind is Kind.ENDED for event in read(journal(project, board)))


def worker_of(project: Project, board: str) -> int:
    return next(event.data["pid"] for event in read(journal(project, board)) if event.kind is Kind.STARTED)


def workers(project: Project) -> set[int]:
    """Those that have begun a board."""
    return {worker_of(project, board) for board in BOARDS if phases(project, board)}


def finish(project: Project, process: subprocess.Popen[str]) -> Result:
    output, _ = process.communicate(timeout=TIMEOUT_S)
    return Result(process.returncode, output, project)


def start(project: Project, *options: str, times: int | None = None, **keys: Any) -> subprocess.Popen[str]:
    """A run in which one board is being written, and its erases hang, so many times."""
    slow = {"fault": "slow-erase", "seconds": 6} | ({"times": times} if times else {})
    project.write_batch(boards=BOARDS, faults={"ESP32_002": [slow]}, **keys)
    process = project.start("fleet.yaml", *options)
    wait_until(lambda: phase_of(project, "ESP32_002") == "flash", process)
    return process


def junit_cases(result: Result) -> dict[str, ET.Element]:
    return {case.get("name"): case for case in ET.parse(result.folder.junit).getroot().iter("testcase")}


def deaths(project: Project, board: str) -> int:
    return sum(event.kind is Kind.STARTED for event in read(journal(project, board)))


def test_a_dead_workers_device_goes_on_with_a_new_worker(project: Project):
    process = start(project, "-n", "4", "--junitxml=pytest-junit.xml", times=2)
    os.kill(worker_of(project, "ESP32_002"), signal.SIGKILL)
    result = finish(project, process)
    assert result.returncode == 0, result.output
    assert result.outcomes() == dict.fromkeys(BOARDS, "updated")
    assert project.flash("ESP32_002") == project.new_flash("ESP32_002")
    assert "ESP32_002: its worker process died in the flash phase; a new one goes on from the journal" in result.output
    assert "4 passed" in result.output
    suite = next(ET.parse(project.path / "pytest-junit.xml").getroot().iter("testsuite"))
    assert (suite.get("tests"), suite.get("failures")) == ("4", "0")
    assert len(list(suite.iter("testcase"))) == 4


def test_a_device_at_which_two_workers_die_is_left_alone_named_and_in_quarantine(project: Project):
    process = start(project, "-n", "4", "--junitxml=pytest-junit.xml")
    first = worker_of(project, "ESP32_002")
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: deaths(project, "ESP32_002") == 2, process)
    second = [event.data["pid"] for event in read(journal(project, "ESP32_002")) if event.kind is Kind.STARTED][1]
    wait_until(lambda: phases(project, "ESP32_002").count("flash") == 2, process)
    os.kill(second, signal.SIGKILL)
    result = finish(project, process)
    assert result.returncode == 1
    assert result.outcomes() == {board: "emergency" if board == "ESP32_002" else "updated" for board in BOARDS}, (
        result.output
    )
    error = result.device("ESP32_002")["error"]
    assert "its worker process died during flash" in error["message"]
    assert junit_cases(result)["ESP32_002"].find("error") is not None
    assert result.folder.html.read_text().count("ESP32_002") > 1
    block = result.output[result.output.index("BOARDS IN AN UNKNOWN STATE") :]
    assert "ESP32_002" in block
    later = run_record(result.folder, result.folder.load_plan(), is_live=False)
    assert [each.reason for each in later.emergencies] == ["its worker process died during flash"]
    suite = next(ET.parse(project.path / "pytest-junit.xml").getroot().iter("testsuite"))
    assert (suite.get("tests"), suite.get("failures")) == ("4", "1")
    assert "ESP32_002 is in quarantine from now on" in result.output

    again = project.run("fleet.yaml", "-n", "4")
    assert again.outcomes()["ESP32_002"] == "not-run"
    assert "its worker process died twice" in again.device("ESP32_002")["reason"]
    assert again.returncode == 0, again.output


def test_without_a_new_worker_a_dead_ones_device_is_not_said_to_go_on_and_can_be_resumed(project: Project):
    process = start(project, "-n", "2", "--max-worker-restart", "0", times=1, **WAITING)
    os.kill(worker_of(project, "ESP32_002"), signal.SIGKILL)
    result = finish(project, process)
    assert result.returncode == 1, result.output
    assert "a new one goes on" not in result.output
    assert "the death of a worker process (--max-worker-restart 0): no further device is started" in result.output
    outcomes = result.outcomes()
    assert (outcomes["ESP32_002"], outcomes["ESP32_004"]) == ("emergency", "not-run")
    assert "1 failed" in result.output, "pytest counts it too"
    assert "the death of a worker process" in result.device("ESP32_004")["reason"]
    resumed = project.run("fleet.yaml", "--resume", "last", "-n", "2")
    assert resumed.returncode == 0, resumed.output
    assert resumed.outcomes() == dict.fromkeys(BOARDS, "updated")


def test_a_worker_that_finds_another_plan_is_refused_and_no_board_is_flashed_by_it(project: Project):
    process = start(project, "-n", "2", times=1)
    wait_until(lambda: len(workers(project)) == 2, process)
    plan = RunFolder(project.path / "runs" / "latest").plan_file
    plan.write_text(plan.read_text().replace("ESP32_003", "ESP32_009"))
    os.kill(worker_of(project, "ESP32_002"), signal.SIGKILL)
    result = finish(project, process)
    assert "plan.json is not the plan of this run" in result.output
    outcomes = result.outcomes()
    assert tuple(outcomes) == BOARDS
    assert outcomes["ESP32_002"] == "updated"  # by the worker that was there before
    left = [board for board in BOARDS if outcomes[board] == "not-run"]
    assert result.returncode == bool(left or result.report["halted"])
    assert all("the death of 9 worker processes" in result.device(board)["reason"] for board in left)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_starts_no_further_board_and_finishes_those_that_are_being_written(
    project: Project, number: signal.Signals
):
    process = start(project, "-n", "2", times=1, **WAITING)
    os.killpg(process.pid, number)
    result = finish(project, process)
    assert result.returncode == 2, result.output
    outcomes = result.outcomes()
    assert outcomes["ESP32_002"] == "updated"
    assert outcomes["ESP32_004"] == "not-run"
    assert project.flash("ESP32_002") == project.new_flash("ESP32_002")
    assert project.flash("ESP32_004") == project.old_flash("ESP32_004")
    assert "no further device is started" in result.output
    skipped = junit_cases(result)["ESP32_004"].find("skipped")
    assert "the run was stopped by" in skipped.get("message")


CTRL_C_AT_THE_START = """
import os
import signal

pytest_plugins = ["harness.plugin"]

def pytest_xdist_newgateway(gateway):
    os.killpg(0, signal.SIGINT)
"""


def test_a_first_ctrl_c_while_the_workers_are_being_started_ends_the_run_as_any_other(project: Project):
    (project.path / "conftest.py").write_text(CTRL_C_AT_THE_START)
    project.write_batch(boards=BOARDS)
    result = project.run("fleet.yaml", "-n", "2")
    assert result.returncode == 2, result.output
    assert result.outcomes() == dict.fromkeys(BOARDS, "not-run")
    assert {result.device(board)["reason"] for board in BOARDS} == {"the run was stopped by Ctrl-C"}


def test_a_board_in_quarantine_is_not_said_to_have_been_kept_from_starting_by_a_signal(project: Project):
    ledger = project.path / "runs" / "ledger.sqlite"
    ledger.parent.mkdir()
    Ledger(ledger).quarantine("ESP32_004", "an-earlier-run", "it smokes", 0.0)
    process = start(project, "-n", "2", times=1)
    os.killpg(process.pid, signal.SIGTERM)
    result = finish(project, process)
    assert result.returncode == 2, result.output
    assert result.device("ESP32_004")["reason"].startswith("in quarantine: it smokes")


def start_in_a_terminal(project: Project) -> tuple[subprocess.Popen[str], int]:
    """The same as `start`, with the end of its terminal that a person looks at; closing it closes the terminal."""
    slow = {"fault": "slow-erase", "seconds": 6, "times": 1}
    project.write_batch(boards=BOARDS, faults={"ESP32_002": [slow]}, **WAITING)
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    process = project.start("fleet.yaml", "-n", "2", terminal=theirs)
    os.close(theirs)
    wait_until(lambda: look_at(ours) and phase_of(project, "ESP32_002") == "flash", process)
    return process, ours


def look_at(terminal: int) -> bool:
    """What nobody reads would fill it, and then hold up the run."""
    with suppress(BlockingIOError):
        os.read(terminal, 1 << 16)
    return True


def test_a_terminal_that_is_closed_cuts_no_write(project: Project):
    process, terminal = start_in_a_terminal(project)
    os.close(terminal)
    result = Result(process.wait(timeout=TIMEOUT_S), "", project)
    assert result.returncode == 2
    outcomes = result.outcomes()
    assert outcomes["ESP32_002"] == "updated"
    assert outcomes["ESP32_004"] == "not-run"
    assert result.device("ESP32_004")["reason"] == "the run was stopped by the end of its terminal"
    assert project.flash("ESP32_002") == project.new_flash("ESP32_002")
    assert set(junit_cases(result)) == set(BOARDS)
    assert result.folder.html.exists()


def test_a_terminal_that_is_closed_after_ctrl_c_is_no_second_one_however_busy_the_run_is(project: Project):
    process, terminal = start_in_a_terminal(project)
    os.kill(process.pid, signal.SIGSTOP)
    os.killpg(process.pid, signal.SIGINT)
    os.close(terminal)
    os.kill(process.pid, signal.SIGCONT)  # it hears of both at once
    folder = RunFolder(project.path / "runs" / "latest")
    wait_until(lambda: run_facts(folder).rollout.halted, process)
    os.kill(process.pid, signal.SIGHUP)  # the kernel and the shell both tell of it
    result = Result(process.wait(timeout=TIMEOUT_S), "", project)
    assert result.returncode == 2
    assert result.outcomes()["ESP32_002"] == "updated"


def test_the_second_ctrl_c_leaves_all_reports_and_names_the_board_that_was_being_written(project: Project):
    process = start(project, "-n", "2")
    wait_until(lambda: ended(project, "ESP32_001"), process)
    os.killpg(process.pid, signal.SIGINT)
    assert any("no further device is started" in line for line in process.stdout)
    os.killpg(process.pid, signal.SIGINT)
    result = finish(project, process)
    assert result.returncode == 2, result.output
    outcomes = result.outcomes()
    assert outcomes["ESP32_001"] == "updated"
    assert outcomes["ESP32_002"] == "emergency"
    assert set(junit_cases(result)) == set(BOARDS)
    assert result.folder.html.exists()


def test_the_bench_ends_with_the_run_and_ports_and_locks_are_free(project: Project):
    process = start(project, "-n", "4")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    project.write_batch(boards=BOARDS)
    again = project.run("fleet.yaml", "-n", "4")
    assert again.returncode == 0, again.output


ONE_FAILS: dict[str, Any] = {
    "faults": {
        "ESP32_001": [{"fault": "slow-erase", "seconds": 3, "times": 1}],
        "ESP32_002": [{"fault": "wrong-chip", "chip": "esp32c3"}],
    },
    "groups": {"hub-1": {"max_concurrent": 1}},
    "targets": {board: {"groups": ["hub-1"]} for board in BOARDS[1:]},
}
"""ESP32_002 fails, after ESP32_001 has been started and before any other is."""


def test_after_x_the_boards_that_are_being_written_are_finished_and_no_other_is_started(project: Project):
    project.write_batch(boards=BOARDS, **ONE_FAILS)
    result = project.run("fleet.yaml", "-x", "-n", "2")
    assert result.returncode == 1, result.output
    assert list(result.outcomes().values()) == ["updated", "untouched", "not-run", "not-run"]
    assert "INTERNALERROR" not in result.output
    assert junit_cases(result)["ESP32_004"].find("skipped").get("message") == "the run was stopped by -x"


BROKEN_BY_A_DEATH = """
pytest_plugins = ["harness.plugin"]

def pytest_testnodedown(error):
    if error:
        raise RuntimeError("the lab's dashboard is down")
"""


def test_a_fault_of_the_controller_does_not_wait_for_a_worker_that_is_dead(project: Project):
    (project.path / "conftest.py").write_text(BROKEN_BY_A_DEATH)
    process = start(project, "-n", "2", times=2)
    os.kill(worker_of(project, "ESP32_002"), signal.SIGKILL)
    result = finish(project, process)
    assert result.returncode == 3, result.output
    assert result.outcomes()["ESP32_002"] == "emergency"
    assert "ESP32_002" in result.output[result.output.index("BOARDS IN AN UNKNOWN STATE") :]


SHUFFLED = """
import os
import random

pytest_plugins = ["harness.plugin"]

def pytest_collection_modifyitems(items):
    random.Random(os.getpid()).shuffle(items)
"""


def test_workers_that_collect_in_different_orders_flash_no_wrong_board_and_leave_no_device_untold(project: Project):
    boards = tuple(f"ESP32_{n:03}" for n in range(1, 9))  # two orders of eight are alike once in 40,000 times
    (project.path / "conftest.py").write_text(SHUFFLED)
    project.write_batch(boards=boards, faults={board: [{"fault": "slow-erase", "seconds": 6}] for board in boards})
    process = project.start("fleet.yaml", "-n", "2")
    wait_until(lambda: "flash" in [phase_of(project, board) for board in boards], process)
    first = next(board for board in boards if phase_of(project, board) == "flash")
    os.kill(worker_of(project, first), signal.SIGKILL)
    result = finish(project, process)
    assert result.returncode == 1, result.output
    assert "INTERNALERROR" not in result.output
    assert "has collected other devices, or in another order, than the first worker: it is not used" in result.output
    assert result.outcomes() == {board: "emergency" if board == first else "not-run" for board in boards}
    for board in set(boards) - {first}:
        assert result.device(board)["reason"] == "no worker process was left"


DISK_FULL_AT_THE_END = """
import resource
import pytest

pytest_plugins = ["harness.plugin"]

@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session):
    if not hasattr(session.config, "workerinput"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    return (yield)
"""


def test_a_disk_that_is_full_at_the_end_leaves_the_last_words_and_no_success(project: Project):
    (project.path / "conftest.py").write_text(DISK_FULL_AT_THE_END)
    project.write_batch(boards=BOARDS[:2])
    result = project.run("fleet.yaml", "-n", "2")
    assert result.returncode == 1, result.output
    assert "Traceback" not in result.output
    assert "boards: 2 on 1.2.0 (updated)" in result.output
    for name in ("report.html", "report.json", "junit.xml"):
        assert re.search(rf"{name} was not written.*File too large", result.output), name
    command = [Path(sys.executable).with_name("batch-flash"), "status"]
    told = subprocess.run(command, cwd=project.path, capture_output=True, text=True, timeout=60).stdout
    assert "its reports were not written; to have them: pytest" in told


BROKEN_HOOK = """
import pathlib
import time
import pytest

pytest_plugins = ["harness.plugin"]

def pytest_runtest_logreport(report):
    if "ESP32_002" in report.nodeid and report.when == "call" and hasattr(report, "node"):
        raise RuntimeError("the lab's dashboard is down")

@pytest.fixture
def session(device, session):
    other = pathlib.Path(__file__).with_name("runs") / "latest" / "devices" / "ESP32_002.jsonl"
    while device.device_id == "ESP32_001" and not (other.exists() and '"ended"' in other.read_text()):
        time.sleep(0.05)
    return session
"""


def test_a_hook_of_the_lab_that_fails_cuts_no_write(project: Project):
    """Not even one that has not begun when it does: no journal tells of that board yet."""
    (project.path / "conftest.py").write_text(BROKEN_HOOK)
    slow = {"fault": "slow-erase", "seconds": 3, "times": 2}
    wait = {"retry_delay": 12}  # longer than execnet gives a worker to end
    faults = ONE_FAILS["faults"] | {"ESP32_001": [slow]}
    project.write_batch(boards=BOARDS, **ONE_FAILS | {"faults": faults, "error_handling": wait})
    result = project.run("fleet.yaml", "-n", "2")
    assert result.returncode == 3
    assert "the lab's dashboard is down" in result.output
    assert list(result.outcomes().values()) == ["updated", "untouched", "not-run", "not-run"]
    assert project.flash("ESP32_001") == project.new_flash("ESP32_001")
    assert "report.json" in result.output
    assert result.device("ESP32_003")["reason"] == "the run was ended by an internal error"
    assert "go on with it: pytest" in result.output
