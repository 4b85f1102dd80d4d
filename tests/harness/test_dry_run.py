"""A dry run promises no way back that there is not."""

from __future__ import annotations

import pytest

from harness.dry_run import describe
from harness.store import Store
from tests.harness.lab import Lab

BATCH = """\
name: Net
firmware_file: app.bin
device_type: TYPE
options: OPTIONS
targets:
  - device_id: BOARD
    connection_info: {host: board}
"""


@pytest.mark.parametrize(
    ("device_type", "keys", "backup", "failing"),
    [
        ("arduino-ota", "", "none: the board can not be read back, and no earlier", "then no rollback"),
        ("arduino-ota", "previous_firmware: old.bin\n", "the last good image, else old.bin", "the backup is restored"),
        ("smp", "", "its other slot, else the last good image", "the backup is restored"),
    ],
)
def test_boards_that_can_not_be_read_back(lab: Lab, device_type: str, keys: str, backup: str, failing: str):
    lab.write("old.bin", (lab.folder / "app.bin").read_bytes())
    options = "{}" if device_type == "smp" else "{version_path: /version}"
    text = keys + BATCH.replace("TYPE", device_type).replace("OPTIONS", options)
    plan = lab.plan("version: '1.2.0'\n" + text, "firmware_validation: {check_compatibility: false}\n")
    told = "\n".join(describe(plan.devices[0], Store(plan.store_dir)))
    assert f"backup    {backup}" in told
    assert failing in told
