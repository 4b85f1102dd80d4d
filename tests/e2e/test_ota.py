"""Boards on the network, from the batch to the report: updated, taken back, and never with a password in a file."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from drivers.virtual.esp import firmware
from drivers.virtual.esp.virtual_app import Behaviour
from tests.e2e.project import Project
from tests.e2e.test_interrupted import ended, phase_of, wait_until

ROOT = Path(__file__).parents[2]
PASSWORD = "correct horse battery"
OLD, NEW = "1.1.0", "1.2.0"
SECRET = {"password": {"env": "E2E_OTA_PASSWORD"}}
OPTIONS: dict[str, dict[str, Any]] = {
    "http-ota": {"updater": "elegant3", "version_path": "/version", "restart_s": 1, "username": "admin", **SECRET},
    "arduino-ota": {"version_path": "/version", "restart_s": 1, **SECRET},
}


@pytest.fixture(autouse=True)
def _password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("E2E_OTA_PASSWORD", PASSWORD)


def write_batch(project: Project, image: bytes, *, version: str = NEW, **virtual: Any) -> None:
    (project.path / "old.bin").write_bytes(firmware.build_app("esp32", "demo", OLD))
    (project.path / "new.bin").write_bytes(image)
    batch = {
        "name": "network",
        "version": version,
        "firmware_file": "new.bin",
        "expect": {"version_within": 6, "settle": 0.5},
        "error_handling": {"max_retry_attempts": 1, "retry_delay": 0.2},
        "virtual": {"factory": "old.bin", **virtual},
        "targets": [
            {"device_id": name, "device_type": name, "connection_info": {"port": "virtual"}, "options": options}
            for name, options in OPTIONS.items()
        ],
    }
    (project.path / "fleet.yaml").write_text(yaml.safe_dump(batch))


def slots(project: Project, device_id: str) -> list[bytes]:
    folders = [path.parent for path in project.path.rglob(f"{device_id}/slot0.bin")]
    assert len(folders) == 1
    return [(folders[0] / f"slot{number}.bin").read_bytes() for number in (0, 1)]


def no_file_has_the_password(project: Project) -> bool:
    files = [path for path in project.path.rglob("*") if path.is_file()]
    return bool(files) and not any(PASSWORD.encode() in path.read_bytes() for path in files)


def test_boards_on_the_network_are_updated(project: Project):
    image = firmware.build_app("esp32", "demo", NEW)
    write_batch(project, image)
    result = project.run("fleet.yaml", "-n", "2")
    assert set(result.outcomes().values()) == {"updated"}, result.output
    for device_id in OPTIONS:
        assert slots(project, device_id)[1].startswith(image)
        assert result.device(device_id)["version_before"] == OLD
    assert PASSWORD not in result.output
    assert no_file_has_the_password(project)


@pytest.mark.parametrize("version", [NEW, OLD], ids=["another version", "the same version"])
def test_firmware_that_does_not_start_is_taken_back_where_the_boot_loader_does(project: Project, version: str):
    image = firmware.build_app("esp32", "demo", version, behaviour=Behaviour.ABORT)
    write_batch(project, image, version=version, options={"auto_rollback": True})
    result = project.run("fleet.yaml", "-n", "2")
    assert set(result.outcomes().values()) == {"rolled-back"}, result.output
    for device_id in OPTIONS:
        old = (project.path / "old.bin").read_bytes()
        assert slots(project, device_id)[0].startswith(old)
    assert no_file_has_the_password(project)


def test_firmware_that_does_not_start_is_an_emergency_where_nothing_goes_back(project: Project):
    write_batch(project, firmware.build_app("esp32", "demo", NEW, behaviour=Behaviour.ABORT))
    site = {
        "performance": {"connection_timeout": 1},
        "interfaces": {"network": {"timeout": 3}},
        "rollback_settings": {"rollback_timeout": 8},
    }
    (project.path / "batch-flash-config.yaml").write_text(yaml.safe_dump(site))
    result = project.run("fleet.yaml", "-n", "2")
    assert set(result.outcomes().values()) == {"emergency"}, result.output


def test_a_line_that_always_drops_leaves_the_old_firmware(project: Project):
    write_batch(
        project, firmware.build_app("esp32", "demo", NEW), faults=[{"fault": "line-drop", "after_bytes": 50_000}]
    )
    result = project.run("fleet.yaml", "-n", "2")
    assert set(result.outcomes().values()) == {"rolled-back"}, result.output
    for device_id in OPTIONS:
        assert slots(project, device_id)[0].startswith((project.path / "old.bin").read_bytes())


def test_the_example_to_copy_updates_its_boards(project: Project):
    copied = project.path / "batches" / "network.yaml"
    copied.parent.mkdir()
    copied.write_bytes((ROOT / "batches" / "network.yaml").read_bytes())
    (project.path / "build").mkdir()
    (project.path / "build" / "demo").symlink_to(project.firmware)
    result = project.run("batches/network.yaml", "-n", "2")
    assert list(result.outcomes().values()) == ["updated"] * 3, result.output


def test_a_rehearsal_of_real_hosts_finds_the_pages_of_their_twins(project: Project):
    """Also where the real ones are at ports and in forms of their own, which their twins do not have."""
    batch = yaml.safe_load((ROOT / "batches" / "network.yaml").read_text())
    (project.path / "new.bin").write_bytes(firmware.build_app("esp32", "demo", NEW))
    batch["firmware_file"] = "new.bin"
    batch["options"] |= {"version_port": 8080, "version_pattern": r"Firmware: (\S+)"}
    hosts = ["sensor-1.example", "SENSOR-1.example", "2001:db8::17"]
    for port, (target, host) in enumerate(zip(batch["targets"], hosts, strict=True), 8032):
        target["connection_info"] = {"host": host, "port": port}
    batch["targets"].append(
        {"device_id": "HOME_001", "device_type": "esphome", "connection_info": {"host": "home.example"}}
    )
    (project.path / "hosts.yaml").write_text(yaml.safe_dump(batch))
    (project.path / "batch-flash-config.yaml").write_text("performance: {max_connections_per_host: 1}\n")
    result = project.run("hosts.yaml", "-n", "2", "--simulate")
    assert list(result.outcomes().values()) == ["updated"] * 4, result.output
    assert "host sensor-1.example" in (result.folder.path / "plan.json").read_text()


@pytest.mark.parametrize("phase", ["boot", "rollback"])
def test_a_killed_run_of_boards_on_the_network_ends_in_the_truth(project: Project, phase: str):
    """Between the upload and the proof, and on the way back; what a resumed run says is what the boards run."""
    behaviour = Behaviour.ABORT if phase == "rollback" else Behaviour.RUN
    image = firmware.build_app("esp32", "demo", NEW, behaviour=behaviour)
    write_batch(project, image, options={"auto_rollback": True})
    process = project.start("fleet.yaml", "-n", "2")
    wait_until(lambda: all(phase_of(project, each) == phase or ended(project, each) for each in OPTIONS), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    result = project.run("fleet.yaml", "--resume", "last", "-n", "2")
    outcome, slot, runs = ("updated", 1, image) if phase == "boot" else ("rolled-back", 0, old_image(project))
    assert set(result.outcomes().values()) == {outcome}, result.output
    for device_id in OPTIONS:
        assert slots(project, device_id)[slot].startswith(runs)
    assert no_file_has_the_password(project)


def old_image(project: Project) -> bytes:
    return (project.path / "old.bin").read_bytes()


def test_without_a_page_a_board_that_took_nothing_is_on_what_it_had(project: Project):
    """A former run has kept what it runs, with its version, which such a board never tells."""
    write_batch(project, firmware.build_app("esp32", "demo", NEW))
    batch = yaml.safe_load((project.path / "fleet.yaml").read_text())
    batch["expect"]["require_version"] = False
    for target in batch["targets"]:
        del target["options"]["version_path"]
    (project.path / "fleet.yaml").write_text(yaml.safe_dump(batch))
    result = project.run("fleet.yaml", "-n", "2")
    assert set(result.outcomes().values()) == {"updated"}, result.output
    before = {device_id: slots(project, device_id)[1] for device_id in OPTIONS}
    (project.path / "new.bin").write_bytes(firmware.build_app("esp32", "demo", "1.3.0"))
    batch |= {"version": "1.3.0", "virtual": {"faults": [{"fault": "line-drop", "after_bytes": 50_000}]}}
    (project.path / "fleet.yaml").write_text(yaml.safe_dump(batch))
    result = project.run("fleet.yaml", "-n", "2")
    assert set(result.outcomes().values()) == {"rolled-back"}, result.output
    assert {device_id: slots(project, device_id)[1] for device_id in OPTIONS} == before
