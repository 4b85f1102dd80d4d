"""A batch of Arduinos, through pytest as everybody knows it: real avrdude on virtual boards over RFC2217."""

from __future__ import annotations

import pytest

from drivers.virtual.avr.firmware import demo_files
from tests.e2e.project import Project

BATCH = """
name: Greenhouse
device_type: arduino
version: "1.2.0"
error_handling: {retry_delay: 0.1}
expect: {version_within: 6}
targets:
  - device_id: UNO_001
    firmware_file: demo-arduino-1.2.0.hex
    connection_info: {port: virtual}
    virtual: {factory: demo-arduino-1.1.0.factory.bin}
  - device_id: UNO_002
    firmware_file: demo-arduino-1.2.0.hex
    connection_info: {port: virtual}
    virtual:
      factory: demo-arduino-1.1.0.factory.bin
      faults: [{fault: panics, versions: ["1.2.0"]}]
      options: {bootloader: optiboot-8.3, lock_bits: 0x3f}
  - device_id: MEGA_001
    expected: {chip: mega2560}
    firmware_file: demo-mega2560-1.2.0.hex
    connection_info: {port: virtual}
    virtual: {factory: demo-mega2560-1.1.0.factory.bin}
  - device_id: LEO_001
    expected: {chip: leonardo}
    firmware_file: demo-arduino-1.2.0.hex
    connection_info: {port: virtual}
    virtual: {factory: demo-arduino-1.1.0.factory.bin}
"""

NANO = """\
  - device_id: NANO_001
    expected: {chip: nano}
    firmware_file: large.bin
    connection_info: {port: virtual}
    virtual: {factory: demo-arduino-1.1.0.factory.bin}
"""


@pytest.fixture
def lab(project: Project) -> Project:
    for name, contents in demo_files():
        (project.path / name).write_bytes(contents)
    (project.path / "large.bin").write_bytes(b"\x0c\x94" * 15500)  # 31,000 bytes: an Uno would take it
    return project


def test_firmware_that_a_nano_has_no_room_for_is_refused_before_the_run(lab: Project):
    (lab.path / "fleet.yaml").write_text(BATCH + NANO)
    result = lab.run("fleet.yaml", "-n", "4")
    assert result.returncode == 4
    assert "NANO_001" in result.output
    assert "large.bin ends at 0x7918" in result.output


def test_arduinos_go_to_the_new_firmware_or_back_to_the_old_to_the_last_byte(lab: Project):
    files = dict(demo_files())
    (lab.path / "fleet.yaml").write_text(BATCH)
    result = lab.run("fleet.yaml", "-n", "4")
    assert result.outcomes() == {
        "UNO_001": "updated",
        "UNO_002": "rolled-back",
        "MEGA_001": "updated",
        "LEO_001": "updated",
    }, result.output
    assert "1.2.0 did not appear" in result.device("UNO_002")["error"]["message"]
    for board in ("UNO_001", "UNO_002", "MEGA_001", "LEO_001"):
        kept = lab.store.load(result.folder.run_id, board)
        before = lab.store.content(kept)
        assert before.startswith(files[f"demo-{'mega2560' if board == 'MEGA_001' else 'arduino'}-1.1.0.factory.bin"])
        boot = {"MEGA_001": 0x3E000, "LEO_001": 0x7000}.get(board, 0x7E00)
        assert lab.flash(board)[boot:] == before[boot:]
        assert (lab.flash(board) == before) == (board == "UNO_002")
