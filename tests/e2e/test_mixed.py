"""All families in one run: `batches/mixed.yaml` from old to new, and with faults on every board; all reports agree."""

from __future__ import annotations

import shutil
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import yaml

from drivers import load_driver
from drivers.virtual.client import Bench
from drivers.virtual.pico import mounts
from drivers.virtual.spec import BenchSpec
from harness.plan import load_plan
from harness.runs import RunFolder
from harness.snapshot import DevicePlan
from tests.e2e.project import Project, Result

MIXED = Path(__file__).parents[2] / "batches" / "mixed.yaml"
OVER_THE_AIR = ("OTA_001", "HTTP_001", "ESPHOME_001")
GOES_BACK = {"virtual": {"options": {"auto_rollback": True}}}  # a boot loader that leaves firmware that crashes
QUICK = {"error_handling": {"retry_delay": 0.1, "max_retry_attempts": 1}, "expect": {"version_within": 6}}
PATIENT = {"error_handling": {"retry_delay": 0.1, "max_retry_attempts": 3}}
"""Besides the fault: avrdude, say, does not wait for a board that the machine holds up."""
Memories = dict[str, dict[str, bytes]]


@pytest.fixture
def lab(project: Project) -> Project:
    """A checkout with the example batch and its firmware."""
    (project.path / "batches").mkdir()
    shutil.copytree(project.firmware, project.path / "build" / "demo")
    return project


def write(lab: Project, faults: dict[str, list[dict[str, Any]]] | None = None, **keys: Any) -> list[str]:
    """The example, its boards kept from run to run, with a fault on each; its device ids."""
    batch = yaml.safe_load(MIXED.read_text()) | keys
    batch["virtual"] = {"keep": True}
    for target in batch["targets"]:
        virtual = dict(target.get("virtual", {}))
        if faults:
            virtual["faults"] = faults.get(target["device_id"], faults["*"])
            if target["device_id"] in OVER_THE_AIR:
                virtual |= GOES_BACK["virtual"]
        target["virtual"] = virtual
    (lab.path / "batches" / "mixed.yaml").write_text(yaml.safe_dump(batch))
    return [target["device_id"] for target in batch["targets"]]


def as_from_the_factory(lab: Project) -> Memories:
    """The boards' memories before the first run."""
    plan = load_plan(lab.path / "batches" / "mixed.yaml", home=lab.path)
    boards = tuple(device.virtual.model_copy(update={"faults": ()}) for device in plan.devices if device.virtual)
    with Bench.start(BenchSpec(state=lab.path / ".bench", boards=boards)):
        pass
    return memories(lab)


def memories(lab: Project) -> Memories:
    folders = sorted(path for path in (lab.path / ".bench").iterdir() if path.is_dir())
    return {folder.name: {path.name: path.read_bytes() for path in sorted(folder.glob("*.bin"))} for folder in folders}


def holds(folder: RunFolder, device: DevicePlan, memory: dict[str, bytes]) -> bool:
    """Whether the board's flash has every byte of the images, or one of its slots begins with them."""
    base = load_driver(device.device_type).defaults.flash_base
    slots = [memory[name] for name in ("slot0.bin", "slot1.bin") if name in memory] or [memory["flash.bin"]]
    segments = [(segment.address - base, segment.data) for segment in folder.images(device)]
    return any(all(slot[at : at + len(data)] == data for at, data in segments) for slot in slots)


def check_reports_agree(result: Result, outcomes: dict[str, str]) -> None:
    """Terminal, JSON, JUnit and HTML tell the same of every board."""
    assert result.outcomes() == outcomes, result.output
    cases = {case.get("name"): case for case in ET.parse(result.folder.junit).getroot().iter("testcase")}
    page = result.folder.html.read_text()
    for device_id, outcome in outcomes.items():
        bad = cases[device_id].find("failure") is not None or cases[device_id].find("error") is not None
        assert bad == (outcome not in ("updated", "unchanged")), device_id
        assert device_id in page
        assert not bad or f"{device_id}: " in result.output


def check_memories_agree(lab: Project, result: Result, before: Memories) -> None:
    after = memories(lab)
    for device in result.folder.load_plan().devices:
        device_id, outcome = device.device_id, result.outcomes()[device.device_id]
        if outcome == "updated":
            assert holds(result.folder, device, after[device_id]), device_id
        elif "flash.bin" in before[device_id]:
            assert after[device_id]["flash.bin"] == before[device_id]["flash.bin"], device_id


def test_twelve_boards_of_all_families_go_from_the_old_firmware_to_the_new(lab: Project) -> None:
    names = write(lab)
    before = as_from_the_factory(lab)
    assert len(before) == len(names) == 12
    result = lab.run("batches/mixed.yaml", "-n", "8")
    check_reports_agree(result, dict.fromkeys(names, "updated"))
    assert result.returncode == 0
    assert {device["version_before"] for device in result.report["devices"]} <= {"1.1.0", None}
    assert {device["version_after"] for device in result.report["devices"]} == {"1.2.0"}
    check_memories_agree(lab, result, before)
    uno = memories(lab)["UNO_001"]["flash.bin"]
    assert uno[-512:] == before["UNO_001"]["flash.bin"][-512:], "the boot loader is as it was"


def test_firmware_that_runs_on_no_board_leaves_each_on_what_it_had(lab: Project) -> None:
    names = write(lab, {"*": [{"fault": "panics", "versions": ["1.2.0"]}]}, **QUICK)
    before = as_from_the_factory(lab)
    result = lab.run("batches/mixed.yaml", "-n", "8")
    assert result.returncode == 1
    check_reports_agree(result, dict.fromkeys(names, "rolled-back"))
    check_memories_agree(lab, result, before)


def test_a_supply_that_drops_in_the_middle_of_each_write_and_comes_back_costs_no_board(lab: Project) -> None:
    names = write(lab, {"*": [{"fault": "power-loss", "at_byte": 3000, "off_s": 0.5, "times": 1}]}, **PATIENT)
    before = as_from_the_factory(lab)
    result = lab.run("batches/mixed.yaml", "-n", "8")
    # Onto a mount, the copy fails and is made again. The writer onto a folder may be done before the power goes, and is
    # then told nothing: what the board does not start is put back.
    pico = result.outcomes()["PICO_001"]
    assert pico == "updated" or (mounts.why_none() and pico == "rolled-back"), result.output
    check_reports_agree(result, dict.fromkeys(names, "updated") | {"PICO_001": pico})
    check_memories_agree(lab, result, before)
