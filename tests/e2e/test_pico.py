"""A batch of Picos on the bench, through the whole procedure: both chips, over the drive and over USB."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from drivers.virtual.flash import SECTOR
from drivers.virtual.pico import firmware
from drivers.virtual.pico.chips import RP2040
from drivers.virtual.pico.program import Behaviour
from tests.e2e.project import Project, Result

PANICS = firmware.build_app(RP2040, "demo", "1.3.0", behaviour=Behaviour.PANIC)
OLD = firmware.build_app(RP2040, "demo", "1.1.0")


def update(project: Project, targets: list[dict[str, Any]], **keys: Any) -> Result:
    for name, data in firmware.demo_files():
        (project.path / name).write_bytes(data)
    (project.path / "panics.bin").write_bytes(PANICS)
    types = {
        name: {"firmware_file": f"demo-{label}-1.2.0.uf2", "virtual": {"factory": f"demo-{label}-1.1.0.factory.bin"}}
        for label in ("pico", "pico2")
        for name in (label, f"{label}-usb")
    }
    batch = {
        "name": "Picos",
        "version": "1.2.0",
        "device_types": types,
        "expect": {"version_within": 10, "settle": 0.2},
        "targets": [{"connection_info": {"port": "virtual"}, **target} for target in targets],
        **keys,
    }
    (project.path / "picos.yaml").write_text(yaml.safe_dump(batch))
    return project.run("picos.yaml", "-n", "2")


def flash(project: Project, board: str) -> bytes:
    (found,) = Path(project.path).glob(f"**/{board}/flash.bin")
    return found.read_bytes()


def test_both_chips_are_updated_over_the_drive_and_over_usb(project: Project) -> None:
    names = {"pico": "A", "pico2": "B", "pico-usb": "C", "pico2-usb": "D"}
    result = update(project, [{"device_id": device, "device_type": name} for name, device in names.items()])
    assert result.returncode == 0, result.output
    for device in names.values():
        found = result.device(device)
        assert (found["outcome"], found["version_after"]) == ("updated", "1.2.0")
    assert result.device("C")["version_before"] == "1.1.0"
    assert flash(project, "A")[: len(OLD)] == firmware.build_app(RP2040, "demo", "1.2.0")


def test_firmware_that_panics_is_taken_back_on_either_way(project: Project) -> None:
    bad = {"firmware_file": "panics.bin", "version": "1.3.0"}
    result = update(
        project,
        [
            {"device_id": "DRIVE", "device_type": "pico", "previous_firmware": "demo-pico-1.1.0.factory.bin", **bad},
            {"device_id": "USB", "device_type": "pico-usb", **bad},
        ],
    )
    assert result.returncode != 0
    for device in "DRIVE", "USB":
        found = result.device(device)
        assert found["outcome"] == "rolled-back", result.output
        assert "PANIC" in found["error"]["message"]
        assert flash(project, device)[: len(OLD)] == OLD
    assert flash(project, "USB")[len(OLD) :].count(0xFF) == (2 << 20) - len(OLD), "every byte is as it was"


def test_a_supply_that_drops_in_the_copy_on_the_way_back_costs_no_board(project: Project) -> None:
    """Both ends of that copy: the writer sees the drive leave, or has written the file and is told nothing.

    Onto a folder: there is no telling on a mount, which fails its writer.
    """
    update_size = -(-len(PANICS) // SECTOR) * SECTOR
    targets = [
        {
            "device_id": device,
            "device_type": "pico",
            "firmware_file": "panics.bin",
            "version": "1.3.0",
            "previous_firmware": "demo-pico-1.1.0.factory.bin",
            "virtual": {
                "factory": "demo-pico-1.1.0.factory.bin",
                "faults": [{"fault": "power-loss", "at_byte": update_size + into_it, "off_s": 0.5}],
                "options": {"drive": "folder"},
            },
        }
        for device, into_it in (("EARLY", 300), ("LATE", len(OLD) - 1))
    ]
    result = update(project, targets, error_handling={"retry_delay": 0.1})
    for device in "EARLY", "LATE":
        assert result.device(device)["outcome"] == "rolled-back", result.output
        assert flash(project, device)[: len(OLD)] == OLD
