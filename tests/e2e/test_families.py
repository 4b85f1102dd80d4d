"""Families that the harness knows only by what they declare: a package with entry points is all that it takes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.project import Project, Result

PACKAGE = Path(__file__).parent / "third_party"
OLD, NEW, BAD = (f"FW {text}\n".encode() + b"code" * 100 for text in ("1.0.0", "2.0.0", "3.0.0"))
BAD += b"BAD"
SIZE = 0x4000


@pytest.fixture
def lab(project: Project) -> Project:
    """A checkout in which somebody's package of drivers is installed."""
    shutil.copy(PACKAGE / "lab_boxes.py", project.path)
    info = project.path / "lab_boxes-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-boxes\nVersion: 1.0\n")
    shutil.copy(PACKAGE / "entry_points.txt", info)
    for name, firmware in (("old", OLD), ("new", NEW), ("bad", BAD)):
        (project.path / f"{name}.bin").write_bytes(firmware)
    (project.path / "box").mkdir()
    (project.path / "box" / "flash.bin").write_bytes(OLD.ljust(SIZE, b"\xff"))
    return project


def update(lab: Project, device_type: str, firmware: str = "new.bin", **keys: Any) -> Result:
    target = {"device_id": "BOX", "connection_info": {"port": str(lab.path / "box")}}
    batch = {
        "device_type": device_type,
        "firmware_file": firmware,
        "version": None,
        "expect": {"version_within": 1, "settle": 0},
        **keys,
    }
    path = lab.write_batch(**batch, boards=())
    import yaml

    content = yaml.safe_load(path.read_text()) | {"targets": [target]}
    path.write_text(yaml.safe_dump({key: value for key, value in content.items() if value is not None}))
    return lab.run("fleet.yaml", "-n", "1")


def flash(lab: Project, slot: str = "flash") -> bytes:
    return (lab.path / "box" / f"{slot}.bin").read_bytes()


def phase(result: Result, name: str) -> dict[str, Any]:
    return next(each for each in reversed(result.device("BOX")["phases"]) if each["phase"] == name)


def test_a_family_of_a_third_party_is_updated_and_read_back(lab: Project) -> None:
    result = update(lab, "filebox", options={"colour": "white"})
    assert result.outcomes() == {"BOX": "updated"}, result.output
    assert flash(lab) == NEW.ljust(SIZE, b"\xff")
    assert "a white box" in result.folder.html.read_text()
    assert update(lab, "filebox").outcomes() == {"BOX": "unchanged"}
    assert update(lab, "filebox", "bad.bin").outcomes() == {"BOX": "rolled-back"}
    assert flash(lab) == NEW.ljust(SIZE, b"\xff")


def test_a_board_that_can_not_be_read_back_gets_the_last_good_image_and_the_report_says_so(lab: Project) -> None:
    first = update(lab, "filebox-blind")
    assert first.outcomes() == {"BOX": "updated"}, first.output
    assert phase(first, "backup")["detail"] == "the board can not be read back, and no image of what it runs is known"
    assert phase(first, "verify")["outcome"] == "skipped"
    assert "seen running; what it holds was not compared" in first.folder.html.read_text()
    second = update(lab, "filebox-blind", "bad.bin")
    assert second.outcomes() == {"BOX": "rolled-back"}, second.output
    assert flash(lab)[: len(NEW)] == NEW
    assert phase(second, "backup")["detail"] == "the last good image (2.0.0): the board can not be read back"
    assert "the last good image (2.0.0)" in phase(second, "rollback")["detail"]
    assert second.device("BOX")["version_after"] == "2.0.0"
    assert "the last good image was sent again, and runs; the board can not be read back" in second.output


def test_one_of_which_no_image_is_known_is_not_taken_back_and_is_all_that_lf_takes(lab: Project) -> None:
    update(lab, "filebox-blind")
    kept = lab.run("fleet.yaml", "--resume", "last", "--take-back")
    assert kept.returncode == 1
    assert "NOT TAKEN BACK: 1 of 1 device" in kept.output
    assert "go on with it" not in kept.output
    last_failed = json.loads((lab.path / ".pytest_cache" / "v" / "cache" / "lastfailed").read_text())
    assert list(last_failed) == ["fleet.yaml::test_flash[BOX]"]


def test_before_the_first_update_the_batch_may_name_what_the_board_runs(lab: Project) -> None:
    result = update(lab, "filebox-blind", "bad.bin", previous_firmware="old.bin")
    assert result.outcomes() == {"BOX": "rolled-back"}, result.output
    assert flash(lab)[: len(OLD)] == OLD
    assert "the batch's previous image (1.0.0)" in phase(result, "backup")["detail"]


def test_an_image_that_was_sent_again_and_does_not_run_is_an_emergency(lab: Project) -> None:
    (lab.path / "old.bin").write_bytes(BAD)
    result = update(lab, "filebox-blind", "bad.bin", previous_firmware="old.bin")
    assert result.outcomes() == {"BOX": "emergency"}, result.output
    assert "the rollback failed: the firmware does not run: panic" in result.output


def test_without_any_image_of_it_a_failed_update_is_an_emergency_by_name(lab: Project) -> None:
    result = update(lab, "filebox-blind", "bad.bin")
    assert result.outcomes() == {"BOX": "emergency"}
    assert "there is no backup to restore" in result.output


def test_a_slot_that_fails_is_left_and_the_one_that_is_good_is_confirmed(lab: Project) -> None:
    failed = update(lab, "filebox-slots", "bad.bin")
    assert failed.outcomes() == {"BOX": "rolled-back"}, failed.output
    assert (flash(lab), flash(lab, "other")[: len(BAD)]) == (OLD.ljust(SIZE, b"\xff"), BAD)
    assert phase(failed, "rollback")["detail"] == "the board runs the firmware in its other slot"
    good = update(lab, "filebox-slots")
    assert good.outcomes() == {"BOX": "updated"}, good.output
    assert phase(good, "confirm")["outcome"] == "passed"
    assert (lab.path / "box" / "state.json").read_text() == '{"running": "other", "good": "other"}'


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"options": {"color": "white"}}, "options: filebox-blind has no option 'color'; did you mean 'colour'?"),
        ({"options": {"colour": "red"}}, "options.colour: string should match pattern"),
        (
            {"quality_gates": {"require_verification": True}},
            "quality_gates.require_verification: nothing proves what filebox-blind boards hold, BOX among them",
        ),
        ({"firmware_file": "fleet.yaml"}, "fleet.yaml: no firmware of a box"),
    ],
)
def test_what_a_family_can_not_do_is_refused_before_the_run(lab: Project, keys: dict[str, Any], said: str) -> None:
    result = (
        update(lab, "filebox-blind", **keys)
        if "firmware_file" not in keys
        else update(lab, "filebox-blind", "fleet.yaml")
    )
    assert result.returncode == 4
    assert said in result.output
    assert flash(lab) == OLD.ljust(SIZE, b"\xff")
