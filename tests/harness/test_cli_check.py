"""`batch-flash check` and `schema`, as a person runs them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.lab import MINIMAL, Lab

COMMAND = Path(sys.executable).with_name("batch-flash")
BATCHES = Path(__file__).parents[2] / "batches"


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def test_a_good_batch_is_summed_up_in_a_line(lab: Lab):
    lab.write("batch.yaml", MINIMAL)
    done = run(lab.folder, "check", "batch.yaml")
    assert done.stdout == "batch.yaml: good: 1 device (1 esp32) to 1.2.0: app.bin (1.2.0)\n"
    assert (done.returncode, done.stderr) == (0, "")


def test_all_problems_of_all_batches_are_said_with_pytests_usage_status(lab: Lab):
    lab.write("good.yaml", MINIMAL)
    lab.write("bad.yaml", MINIMAL.replace("app.bin", "none.bin") + "timeout: soon\n")
    done = run(lab.folder, "check", "bad.yaml", "missing.yaml", "good.yaml")
    assert done.returncode == 4
    assert done.stderr.splitlines() == [
        f"bad.yaml:3:16: firmware_file: {lab.folder}/none.bin does not exist",
        "bad.yaml:7:10: timeout: expected a number of seconds, got 'soon'",
        "2 problems; nothing was touched.",
        "missing.yaml: can not be read: No such file or directory",
        "1 problem; nothing was touched.",
    ]
    assert done.stdout.startswith("good.yaml: good: ")


def test_the_site_file_of_the_folder_is_used_or_the_one_that_is_named(lab: Lab):
    lab.write("batch.yaml", MINIMAL)
    lab.write("batch-flash-config.yaml", "device_types: {esp32: {max_firmware_size: 1}}\n")
    lab.write("other.yaml", "{flash_settings: {}}\n")
    assert run(lab.folder, "check", "batch.yaml").returncode == 4
    assert run(lab.folder, "check", "--config", "other.yaml", "batch.yaml").returncode == 0


def test_simulate_looks_at_the_twins_too(lab: Lab):
    lab.write("batch.yaml", MINIMAL + "virtual: {factory: none.bin}\n")
    assert run(lab.folder, "check", "batch.yaml").returncode == 0
    done = run(lab.folder, "check", "--simulate", "batch.yaml")
    assert done.returncode == 4
    assert f"batch.yaml:7:20: virtual.factory: {lab.folder}/none.bin does not exist" in done.stderr


@pytest.mark.parametrize("options", [(), ("--site",)])
def test_schema_prints_json(tmp_path, options):
    assert json.loads(run(tmp_path, "schema", *options).stdout)["type"] == "object"


def test_the_version_is_told(tmp_path):
    assert run(tmp_path, "--version").stdout.startswith("batch-flash, version ")


def test_the_batches_of_this_repository_are_good_once_their_firmware_is_made(tmp_path):
    shutil.copytree(BATCHES, tmp_path / "batches")
    subprocess.run([sys.executable, "-m", "drivers.virtual.demo", tmp_path / "build/demo"], timeout=60, check=True)
    done = run(tmp_path, "check", *(str(path.relative_to(tmp_path)) for path in (tmp_path / "batches").glob("*.yaml")))
    assert (done.returncode, done.stderr) == (0, "")
    assert (
        "8 devices (6 esp32, 2 esp8266) to 1.2.0: demo-esp32-1.2.0.bin (1.2.0), demo-esp8266-1.2.0.bin" in done.stdout
    )
