"""What a lab does every day: a batch from the old firmware to the new, through pytest as everybody knows it."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pytest

from harness.record import PhaseOutcome
from harness.rollout.state import WaveStatus
from tests.e2e.project import BOARDS, Project
from tests.e2e.test_interrupted import finish, wait_until
from tests.e2e.test_resume import batch_flash
from tests.e2e.test_rollout import first_wave_is

FEW = ("ESP32_001", "ESP8266_001")
APPROVED = {"strategy": "gradual", "waves": [1, 1], "approve": True}
"""Keys of a batch that goes on until somebody approves of the second board."""


def test_a_fleet_of_eight_goes_from_the_old_firmware_to_the_new(project: Project):
    project.write_batch()
    result = project.run("fleet.yaml", "-n", "8")
    assert result.returncode == 0, result.output
    assert "8 passed" in result.output
    for path in (result.folder.html, result.folder.junit, result.folder.json):
        assert str(path) in result.output.replace("/latest/", f"/{result.folder.run_id}/")
    for board in BOARDS:
        assert project.flash(board) == project.new_flash(board)
        kept = project.store.load(result.folder.run_id, board)
        assert project.store.content(kept) == project.old_flash(board)
        device = result.device(board)
        assert (device["version_before"], device["version_after"]) == ("1.1.0", "1.2.0")


def test_without_n_one_worker_does_it_and_a_second_run_changes_nothing(project: Project):
    kept = {board: {"virtual": {"factory": str(project.factory(board.split("_")[0].lower()))}} for board in FEW}
    project.write_batch(boards=FEW, targets=kept)
    assert project.run("fleet.yaml").outcomes() == dict.fromkeys(FEW, "updated")
    again = project.run("fleet.yaml")
    assert again.returncode == 0, again.output
    assert again.outcomes() == dict.fromkeys(FEW, "unchanged")
    flash = [phase for phase in again.journal("ESP32_001").phases if phase.phase == "flash"]
    assert [phase.outcome for phase in flash] == [PhaseOutcome.SKIPPED]
    rewritten = project.run("fleet.yaml", "--reflash")
    assert rewritten.outcomes() == dict.fromkeys(FEW, "updated")


@pytest.mark.parametrize(
    ("selection", "chosen"),
    [
        (["-k", "ESP8266"], ["ESP8266_001"]),
        (["-m", "esp32"], ["ESP32_001", "ESP32_002"]),
        (["fleet.yaml::test_flash[ESP32_002]"], ["ESP32_002"]),
    ],
)
def test_devices_are_chosen_as_tests_are(project: Project, selection, chosen):
    project.write_batch(boards=("ESP32_001", "ESP32_002", "ESP8266_001"))
    arguments = selection if selection[0].startswith("fleet") else ["fleet.yaml", *selection]
    collected = project.run(*arguments, "--collect-only", "-q")
    assert [line for line in collected.output.splitlines() if "::" in line] == [
        f"fleet.yaml::test_flash[{board}]" for board in chosen
    ]
    assert not (project.path / "runs").exists(), "collecting touches nothing"


def test_only_the_chosen_device_is_updated_and_lf_takes_the_failed_one(project: Project):
    project.write_batch(boards=FEW, faults={"ESP32_001": [{"fault": "wrong-chip", "chip": "esp32c3"}]})
    first = project.run("fleet.yaml", "-n", "2")
    assert first.returncode == 1
    assert first.outcomes() == {"ESP32_001": "untouched", "ESP8266_001": "updated"}
    project.write_batch(boards=FEW)
    second = project.run("fleet.yaml", "--lf")
    assert second.outcomes() == {"ESP32_001": "updated"}


def test_firmware_that_a_chips_fuses_would_never_start_is_not_written(project: Project):
    """The board has Secure Boot V2 enabled (ABS_DONE_1), and the firmware is not signed."""
    fused = {"factory": str(project.factory("esp32")), "keep": False, "options": {"efuses": {"0x3FF5A018": 1 << 5}}}
    project.write_batch(boards=("ESP32_001",), targets={"ESP32_001": {"virtual": fused}})
    result = project.run("fleet.yaml")
    assert result.outcomes() == {"ESP32_001": "untouched"}, result.output
    error = result.device("ESP32_001")["error"]
    assert "it is not signed, and the chip's Secure Boot V2 would never start it" in error["message"]
    assert error["category"] == "other"
    assert project.flash("ESP32_001") == project.old_flash("ESP32_001")


def test_a_dry_run_says_what_would_be_done_and_does_nothing(project: Project):
    gates = {"min_success_rate": 80}
    project.write_batch(boards=["ESP32_001", *FEW[1:], "ESP32_002"], strategy="gradual", waves=[1], quality_gates=gates)
    result = project.run("fleet.yaml", "--dry-run", "-n", "8", "-k", "ESP32")
    assert result.returncode in (0, 5), result.output
    assert "ESP32_001 (esp32) on a virtual board" in result.output
    assert "demo-esp32-1.2.0.bin" in result.output
    assert "at 0x10000" in result.output
    assert "wave 1 of 2: ESP32_001\nwave 2 of 2: ESP32_002\n" in result.output
    assert "gates of each wave: success_threshold: at least 90 % wanted; min_success_rate: at least 80" in result.output
    assert "ESP8266_001" not in result.output
    assert project.run("fleet.yaml", "--fixtures").returncode == 0
    assert not (project.path / "runs").exists(), "what only shows something touches nothing"
    assert not (project.path / ".bench").exists()


def test_a_folder_of_batches_updates_nothing_and_pytest_says_why(project: Project):
    project.write_batch(boards=FEW)
    result = project.run(".")
    assert result.returncode == 5
    assert "a batch is a file that is named on the command line" in result.output


def test_mistakes_are_told_all_at_once_without_a_traceback_and_nothing_is_touched(project: Project):
    batch = project.batch(boards=FEW)
    batch["firmwarefile"] = "x.bin"
    batch["targets"][1]["device_id"] = "ESP32_001"
    batch["timeout"] = "soon"
    (project.path / "fleet.yaml").write_text(json.dumps(batch))
    result = project.run("fleet.yaml", "-n", "8")
    assert result.returncode == 4
    assert "Traceback" not in result.output
    for said in ("firmwarefile", "did you mean", "ESP32_001", "timeout", "fleet.yaml:1:"):
        assert said in result.output
    assert not (project.path / "runs").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-p", "no:xdist"], "a batch needs pytest-xdist"),
        (["-p", "no:html"], "a batch needs pytest-html"),
        (["-n", "2", "--dist", "worksteal"], "a batch has a scheduler of its own"),
        (["--pdb"], "a batch runs in worker processes"),
        (["--looponfail"], "boards are not written anew whenever a file changes"),
        (["--tx", "ssh=elsewhere"], "a batch's workers are processes of this machine"),
        (["--setup-only"], "it would open the boards' ports for nothing"),
        (["fleet.yaml::test_flash[ESP32_009]"], "no such device; did you mean fleet.yaml::test_flash[ESP32_001]?"),
    ],
)
def test_what_a_batch_can_not_be_run_with_is_refused_in_a_line(project: Project, options, said):
    project.write_batch(boards=FEW)
    result = project.run("fleet.yaml", *options)
    assert result.returncode == 4
    assert said in result.output
    assert "Traceback" not in result.output
    assert not (project.path / "runs").exists()


def test_two_batches_in_one_run_are_refused(project: Project):
    for name in ("a.yaml", "b.yaml"):
        project.write_batch(name, boards=FEW)
    result = project.run("a.yaml", "b.yaml")
    assert result.returncode == 4
    assert "one batch a run" in result.output


def test_a_batch_of_real_ports_is_rehearsed_on_virtual_twins(project: Project):
    real = {
        "ESP32_001": {"connection_info": {"port": "/dev/ttyUSB0"}, "expected": {"mac": "24:0a:c4:01:02:03"}},
        "ESP8266_001": {"connection_info": {"port": "/dev/ttyUSB1"}},
    }
    project.write_batch(boards=FEW, targets=real)
    result = project.run("fleet.yaml", "--simulate", "-n", "2")
    assert result.returncode == 0, result.output
    assert result.device("ESP32_001")["identity"]["serial"] == "24:0a:c4:01:02:03"


def test_a_missing_port_is_a_connection_error_that_says_what_to_do(project: Project):
    project.write_batch(boards=FEW, targets={"ESP32_001": {"connection_info": {"port": "/dev/ttyNONE7"}}})
    result = project.run("fleet.yaml", "-n", "2")
    assert "2 boards, 1 of them virtual, to 1.2.0" in result.output
    assert result.returncode == 1
    error = result.device("ESP32_001")["error"]
    assert error["category"] == "connection"
    assert "/dev/ttyNONE7" in error["message"]
    assert "Check that the port exists" in result.output


BOARD_TESTS = """
import pytest

def test_greets(device, console):
    match = console.expect(r"App version:\\s+(\\S+)", timeout_s=5)
    assert match[1] == device.version

def test_not_on_this_rig(console):
    pytest.skip("no load attached")

def test_led(device, console):
    assert device.device_id != "ESP32_002", "the LED stayed dark"

def test_brightness(device, least=3):
    measured = 2 if device.device_id == "ESP32_003" else 4
    assert measured >= least
"""


def test_the_batchs_own_tests_run_on_the_new_firmware_and_a_failing_one_rolls_back(project: Project):
    (project.path / "rig_tests.py").write_text(BOARD_TESTS)
    project.write_batch(boards=("ESP32_001", "ESP32_002", "ESP32_003"), tests=["rig_tests.py"])
    result = project.run("fleet.yaml", "-n", "3")
    assert result.outcomes() == {"ESP32_001": "updated", "ESP32_002": "rolled-back", "ESP32_003": "rolled-back"}
    assert "test_brightness: assert 2 >= 3" in result.device("ESP32_003")["error"]["message"]
    assert "test_led: the LED stayed dark" in result.device("ESP32_002")["error"]["message"]
    assert project.flash("ESP32_002") == project.old_flash("ESP32_002")
    tests = next(phase for phase in result.journal("ESP32_001").phases if phase.phase == "test")
    assert "test_not_on_this_rig: skipped (no load attached)" in tests.detail


UNUSABLE_TESTS = {
    "def test_a(:\n": "can not be imported: SyntaxError: invalid syntax",
    "def check(): pass\n": "it has no function whose name begins with test_",
    "async def test_a(): assert False\n": "test_a: async functions and generators are not run here",
    "class TestRig:\n    def test_a(self): assert False\n": "TestRig: classes are not run here",
    "def test_a(rig): pass\n": "test_a: no fixture 'rig'; those of your own belong in a conftest.py",
    "import pytest\n@pytest.mark.xfail\ndef test_a(): pass\n": "@pytest.mark.xfail has no effect",
    "import pytest\npytest.skip('no rig', allow_module_level=True)\n": "can not be imported: Skipped: no rig",
}


def test_tests_that_would_not_be_run_are_refused_before_anything_is_written(project: Project):
    boards = [f"ESP32_{number:03}" for number in range(len(UNUSABLE_TESTS))]
    for board, code in zip(boards, UNUSABLE_TESTS, strict=True):
        (project.path / f"{board}.py").write_text(code)
    project.write_batch(boards=boards, targets={board: {"tests": [f"{board}.py"]} for board in boards})
    result = project.run("fleet.yaml", "-n", "2")
    assert result.outcomes() == dict.fromkeys(boards, "untouched"), result.output
    for board, said in zip(boards, UNUSABLE_TESTS.values(), strict=True):
        assert said in result.device(board)["error"]["message"]


OVERRIDE = """
import pytest

pytest_plugins = ["harness.plugin"]

@pytest.fixture
def backup(device, backup):
    def take():
        device.log("the lab's own backup")
        return backup()
    return take
"""


def test_a_labs_conftest_may_override_a_fixture(project: Project):
    (project.path / "conftest.py").write_text(OVERRIDE)
    project.write_batch(boards=["ESP32_001"])
    result = project.run("fleet.yaml")
    assert result.returncode == 0, result.output
    assert "the lab's own backup" in result.journal("ESP32_001").log


BROKEN = """
import pytest

pytest_plugins = ["harness.plugin"]

@pytest.fixture
def console(device):
    if device.device_id == "ESP32_002":
        raise RuntimeError("the lab's relay board does not answer")
"""


def test_a_fixture_of_the_lab_that_fails_is_a_failed_device_in_every_report(project: Project):
    (project.path / "conftest.py").write_text(BROKEN)
    project.write_batch(boards=["ESP32_002"])
    result = project.run("fleet.yaml")
    assert result.returncode == 1
    assert result.outcomes() == {"ESP32_002": "untouched"}
    assert "the lab's relay board does not answer" in result.device("ESP32_002")["error"]["message"]
    assert "<error" in result.folder.junit.read_text()
    assert "conftest.py:9: RuntimeError" in result.output, "the traceback is for the lab to read"


def test_several_images_go_to_their_addresses(project: Project):
    names = ("bootloader", "partition-table")
    files = [project.firmware / f"demo-esp32-1.2.0.{name}.bin" for name in names] + [project.image("esp32")]
    addresses = (0x1000, 0x8000, 0x10000)
    images = [{"file": str(path), "address": hex(at)} for path, at in zip(files, addresses, strict=True)]
    batch = project.batch(boards=["ESP32_001"])
    del batch["targets"][0]["firmware_file"]
    batch["targets"][0]["images"] = images
    (project.path / "fleet.yaml").write_text(json.dumps(batch))
    result = project.run("fleet.yaml")
    assert result.returncode == 0, result.output
    flash = project.flash("ESP32_001")
    for path, address in zip(files, addresses, strict=True):
        content = path.read_bytes()
        assert flash[address : address + len(content)] == content


def test_a_batch_edited_during_the_run_changes_nothing_in_it(project: Project):
    path = project.write_batch(boards=FEW, **APPROVED)
    process = project.start("fleet.yaml", "-n", "2")
    wait_until(lambda: first_wave_is(project, WaveStatus.AWAITING_APPROVAL), process)
    path.write_text("name: edited\n")
    assert batch_flash(project, "approve", "last").returncode == 0
    result = finish(project, process)
    assert result.returncode == 0, result.output
    assert result.report["name"] == "Fleet"
    assert result.outcomes() == dict.fromkeys(FEW, "updated")


SKIPPING = """
import pytest

pytest_plugins = ["harness.plugin"]

@pytest.fixture
def port_lock(device, port_lock):
    if device.device_id == "ESP32_001":
        pytest.skip("on loan")
    return port_lock
"""


def test_a_device_that_the_lab_skips_is_told_once_and_with_its_reason(project: Project):
    (project.path / "conftest.py").write_text(SKIPPING)
    project.write_batch(boards=FEW)
    result = project.run("fleet.yaml", "-n", "2", "--junitxml=pytest.xml")
    assert result.returncode == 0, result.output
    assert result.outcomes() == {"ESP32_001": "not-run", "ESP8266_001": "updated"}
    assert "not run: on loan" in result.output
    assert "1 passed, 1 skipped" in result.output
    properties = ET.parse(project.path / "pytest.xml").iter("property")
    assert ("outcome", "updated") in {(found.get("name"), found.get("value")) for found in properties}
    assert "batch-flash-ending" not in (project.path / "pytest.xml").read_text()


def test_runs_and_backups_of_a_project_stay_together_wherever_pytest_is_called(project: Project):
    project.write_batch(boards=FEW)
    (project.path / "sub").mkdir()
    process = Project(project.path / "sub", project.firmware).run("../fleet.yaml", "-n", "2")
    assert process.returncode == 0, process.output
    assert not list((project.path / "sub").iterdir())
    assert (project.path / "runs" / "latest" / "report.json").exists()
    assert (project.path / "store" / "backups" / "ESP32_001").exists()


def test_a_run_that_the_ledger_can_not_take_is_refused_and_is_not_the_last_one(project: Project):
    project.write_batch(boards=FEW)
    (project.path / "batch-flash-config.yaml").write_text("storage: {ledger: fleet.yaml}\n")
    result = project.run("fleet.yaml")
    assert result.returncode == 4
    assert "fleet.yaml can not be used" in result.output
    assert not (project.path / "runs" / "latest").is_symlink()


def test_a_run_whose_boards_another_run_has_is_refused_and_does_not_hide_it(project: Project):
    project.write_batch(boards=FEW, **APPROVED)
    first = project.start("fleet.yaml", "-n", "2")
    wait_until(lambda: first_wave_is(project, WaveStatus.AWAITING_APPROVAL), first)
    before = (project.path / "runs" / "latest").resolve()
    second = project.run("fleet.yaml")
    assert second.returncode == 4
    assert "is in use by another bench" in second.output
    assert (project.path / "runs" / "latest").resolve() == before
    assert batch_flash(project, "approve", "last").returncode == 0
    result = finish(project, first)
    assert result.returncode == 0, result.output
