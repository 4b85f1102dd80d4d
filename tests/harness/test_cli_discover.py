"""`batch-flash discover`, as a person runs it. The real machine's own ports may be in its output too."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from harness.ledger import Ledger
from tests.harness.builders import run_of, updated
from tests.harness.discovery.announced import LOOPBACK, announced, service
from tests.harness.lab import Lab
from tests.harness.test_cli_bench import bench
from tests.harness.test_cli_check import COMMAND, run
from tests.tries import tried

MAC = "24:6f:28:00:00:01"
PROBE = ("--probe", "--timeout", "40")  # seconds: an answer takes 3 s on an idle machine
BATCH = f"""
name: Bench
device_type: esp32
firmware_file: app.bin
targets:
  - device_id: RIG_7
    connection_info: {{port: virtual}}
    expected: {{mac: "{MAC}"}}
  - device_id: RIG_8
    connection_info: {{port: virtual}}
"""


@pytest.fixture
def rig(lab: Lab):
    lab.write("bench.yaml", BATCH)
    with bench(lab.folder, "bench.yaml", boards=2) as boards:
        yield lab, {name: url for name, url, _pty in boards}


def discovered(folder: Path, *arguments: str) -> dict[str, dict]:
    done = run(folder, "discover", "--no-network", "--json", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told["success"] is True
    return {device["device_id"]: device for device in told["devices"]}


def test_json_has_the_shape_of_the_service(rig):
    lab, urls = rig
    devices = discovered(lab.folder, "--device-type", "esp32")
    expected = {
        "device_id": "RIG_7",
        "device_type": "esp32",
        "connection_info": {"port": urls["RIG_7"]},
        "status": "available",
    }
    assert devices["RIG_7"].items() >= expected.items()
    assert "RIG_7" not in run(lab.folder, "discover", "--no-network", "--json", "--device-type", "esp8266").stdout


def test_probed_boards_are_pasted_into_a_batch_which_check_accepts(rig):
    lab, urls = rig
    done = run(lab.folder, "discover", "--no-network", *PROBE, "--yaml")
    assert (done.returncode, done.stderr) == (0, "")
    assert f'port: "{urls["RIG_7"]}"' in done.stdout
    assert f'expected: {{mac: "{MAC}"}}' in done.stdout
    lab.write("pasted.yaml", "name: Pasted\nfirmware_file: app.bin\n" + done.stdout)
    checked = run(lab.folder, "check", "pasted.yaml")
    assert checked.stdout == "pasted.yaml: good: 2 devices (2 esp32) to 1.2.0: app.bin (1.2.0)\n"
    assert (checked.returncode, checked.stderr) == (0, "")


def test_a_board_that_runs_have_worked_on_is_called_what_they_called_it(rig):
    lab, _urls = rig
    Ledger(lab.folder / "runs/ledger.sqlite").record(run_of([updated(lab.folder / "journals").record()]))
    devices = discovered(lab.folder, *PROBE)
    assert set(devices) >= {"ESP32_001", "RIG_8"}
    assert (devices["ESP32_001"]["serial"], devices["ESP32_001"]["identity"]["flash_size"]) == (MAC, 4 << 20)


def test_a_person_gets_a_table(rig):
    lab, urls = rig
    done = run(lab.folder, "discover", "--no-network")
    assert (done.returncode, done.stderr) == (0, "")
    heading, *rows = done.stdout.splitlines()
    assert heading.split() == ["device", "type", "status", "where"]
    (row,) = [row for row in rows if row.startswith("RIG_7")]
    assert row.split() == ["RIG_7", "esp32", "available", f"{urls['RIG_7']},", "virtual", "esp32"]


def test_the_boards_of_a_bench_are_gone_with_it(lab: Lab):
    with bench(lab.folder, "--board", "esp32"):
        assert "esp32-1" in discovered(lab.folder)
    done = run(lab.folder, "discover", "--no-network", "--device-type", "esp32", "--json")
    assert not [device for device in json.loads(done.stdout)["devices"] if "bench" in device["sources"]]


def test_boards_on_the_network_are_found_on_the_interface_that_is_named(tmp_path: Path):
    with announced([service("_esphomelib._tcp.local.", "porch-c7d1", 6053, platform="ESP32")]):
        done = tried(
            lambda: run(tmp_path, "discover", "--interface", LOOPBACK, "--timeout", "2.5"),
            lambda done: any(row.startswith("porch-c7d1 ") for row in done.stdout.splitlines()),
        )
    assert (done.returncode, done.stderr) == (0, "")
    rows = [row for row in done.stdout.splitlines() if row.startswith("porch-c7d1 ")]
    assert any("127.0.0.1:3232" in row for row in rows)


def test_nothing_found_is_said_with_what_to_do(tmp_path: Path):
    """Of a type that a third party drives, and that nothing on this machine can be."""
    info = tmp_path / "site" / "rare-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rare\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[batch_flash.drivers]\nrare = nowhere:RARE\n")
    for form in ([], ["--json"], ["--yaml"]):
        done = subprocess.run(
            [COMMAND, "discover", "--no-network", "--device-type", "rare", *form],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(info.parent)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert line.startswith("no board was found: plug one in")
        assert "batch-flash bench" in line
        assert json.loads(done.stdout) == {"success": True, "devices": []} if form == ["--json"] else done.stdout == ""


def test_an_unknown_type_is_a_mistake_of_usage(tmp_path: Path):
    done = run(tmp_path, "discover", "--device-type", "esp9000")
    assert done.returncode == 2
    assert "esp9000" in done.stderr
    assert "esp32" in done.stderr
    assert "Traceback" not in done.stderr
