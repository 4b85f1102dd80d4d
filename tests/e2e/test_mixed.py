"""All families in one run: `batches/mixed.yaml` from old to new, and with faults on every board; all reports agree."""

from __future__ import annotations

import shutil
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import yaml

from drivers.virtual.client import Bench
from drivers.virtual.spec import BenchSpec
from harness.plan import load_plan
from tests.e2e.project import Project, Result

MIXED = Path(__file__).parents[2] / "batches" / "mixed.yaml"
Memories = dict[str, dict[str, bytes]]


@pytest.fixture
def lab(project: Project) -> Project:
    """A checkout with the example batch and its firmware."""
    (project.path / "batches").mkdir()
    shutil.copytree(project.firmware, project.path / "build" / "demo")
    return project


def write(lab: Project, faults: dict[str, list[dict[str, Any]]] | None = None, **keys: Any) -> dict[str, Any]:
    """The example, its boards kept from run to run, with faults by device id."""
    batch = yaml.safe_load(MIXED.read_text()) | keys
    batch["virtual"] = {"keep": True}
    for target in batch["targets"]:
        if faults and target["device_id"] in faults:
            target["virtual"] = target.get("virtual", {}) | {"faults": faults[target["device_id"]]}
    (lab.path / "batches" / "mixed.yaml").write_text(yaml.safe_dump(batch))
    return batch


def as_from_the_factory(lab: Project) -> Memories:
    """The boards' memories before the first run."""
    plan = load_plan(lab.path / "batches" / "mixed.yaml", home=lab.path)
    boards = tuple(device.virtual for device in plan.devices if device.virtual)
    with Bench.start(BenchSpec(state=lab.path / ".bench", boards=boards)):
        pass
    return memories(lab)


def memories(lab: Project) -> Memories:
    folders = sorted(path for path in (lab.path / ".bench").iterdir() if path.is_dir())
    return {folder.name: {path.name: path.read_bytes() for path in sorted(folder.glob("*.bin"))} for folder in folders}


def check_reports_agree(result: Result, outcomes: dict[str, str]) -> None:
    """Terminal, JSON, JUnit and HTML tell the same of every board."""
    assert result.outcomes() == outcomes, result.output
    cases = {case.get("name"): case for case in ET.parse(result.folder.junit).getroot().iter("testcase")}
    page = result.folder.html.read_text()
    for device_id, outcome in outcomes.items():
        bad = cases[device_id].find("failure") is not None or cases[device_id].find("error") is not None
        assert bad == (outcome not in ("updated", "unchanged")), device_id
        assert device_id in page
        if bad:
            assert f"{device_id}: " in result.output


def test_twelve_boards_of_all_families_go_from_the_old_firmware_to_the_new(lab: Project) -> None:
    batch = write(lab)
    before = as_from_the_factory(lab)
    assert len(before) == len(batch["targets"]) == 12
    result = lab.run("batches/mixed.yaml", "-n", "8")
    check_reports_agree(result, dict.fromkeys((t["device_id"] for t in batch["targets"]), "updated"))
    assert result.returncode == 0
    assert {device["version_before"] for device in result.report["devices"]} <= {"1.1.0", None}
    assert {device["version_after"] for device in result.report["devices"]} == {"1.2.0"}
    after = memories(lab)
    for device_id in before:
        assert after[device_id] != before[device_id], device_id
    uno = after["UNO_001"]["flash.bin"]
    assert uno[-512:] == before["UNO_001"]["flash.bin"][-512:], "the boot loader is as it was"


PANICS = [{"fault": "panics", "versions": ["1.2.0"]}]


def test_firmware_that_runs_on_no_board_leaves_each_on_what_it_had(lab: Project) -> None:
    batch = write(lab, error_handling={"retry_delay": 0.1, "max_retry_attempts": 1})
    names = [target["device_id"] for target in batch["targets"]]
    write(lab, dict.fromkeys(names, PANICS), error_handling={"retry_delay": 0.1, "max_retry_attempts": 1})
    before = as_from_the_factory(lab)
    result = lab.run("batches/mixed.yaml", "-n", "8")
    assert result.returncode == 1
    check_reports_agree(result, dict.fromkeys(names, "rolled-back"))
    after = memories(lab)
    for name in names:
        running = "slot0.bin" if "slot0.bin" in before[name] else "flash.bin"
        assert after[name][running] == before[name][running] or name in ("OTA_001",), name
