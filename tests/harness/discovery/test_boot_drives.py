"""Drives of UF2 boot loaders."""

from __future__ import annotations

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.discovery import discover
from harness.discovery.boot_drives import parse_info, sightings
from tests.harness.discovery.machine import Machine

RP2 = "UF2 Bootloader v3.0\r\nModel: Raspberry Pi RP2\r\nBoard-ID: RPI-RP2\r\n"
TRINKET = "UF2 Bootloader v3.7.0 SFHR\r\nModel: Trinket M0\r\nBoard-ID: SAMD21E18A-Trinket-v0\r\n"


def looked_at(machine: Machine, drives: tuple[Path, ...] = ()) -> list[tuple[str, str]]:
    """Without drivers in between: which boards have one here is not the point."""
    seen = sightings(machine.mounts, drives, machine.sysfs)
    return [(sighting.connection.mount_point, sighting.name) for sighting in seen]


def test_a_mounted_boot_drive_is_found_whatever_its_folder_is_called(machine: Machine):
    folder = machine.mount("RPI RP2", RP2)
    machine.mount("photos", None)
    assert looked_at(machine) == [(str(folder), "Raspberry Pi RP2, in its boot loader")]


def test_a_folder_that_is_named_is_looked_into_too_and_counts_once(machine: Machine, tmp_path: Path):
    drive = tmp_path / "drive"
    drive.mkdir()
    (drive / "INFO_UF2.TXT").write_text(RP2)
    mounted = machine.mount("RPI-RP2", RP2)
    assert [where for where, _name in looked_at(machine, (drive, mounted))] == [str(mounted), str(drive)]


def test_a_virtual_boards_drive_is_told_by_its_bench_alone(machine: Machine):
    machine.mount("drive", RP2, device="batch-flash", kind="fuse.rpi-rp2")
    assert looked_at(machine) == []


def test_network_shares_are_not_looked_into(machine: Machine):
    machine.mount("share", RP2, device="server:/share", kind="nfs4")
    assert looked_at(machine) == []


def test_a_drive_of_another_kind_of_board_is_told_by_its_model(machine: Machine):
    machine.mount("TRINKETBOOT", TRINKET)
    (board,) = discover(places=machine.places(), lock_dir=machine.lock_dir)
    assert (board.device_type, board.name) == ("", "Trinket M0, in its boot loader")
    assert "no driver here for boot drives of this kind" in board.remarks


def drive_of(machine: Machine, usb: Path, name: str) -> None:
    block = usb / "1-1.2:1.2/host4/target4:0:0/4:0:0:0/block/sdb/sdb1"
    block.mkdir(parents=True)
    (machine.sysfs / "class/block").mkdir(parents=True)
    (machine.sysfs / "class/block/sdb1").symlink_to(block)
    machine.mount(name, RP2, device="/dev/sdb1")


def test_a_board_that_is_a_drive_and_a_serial_port_is_one_board(machine: Machine):
    drive_of(machine, machine.usb_device("1-1.2", 0x239A, 0x00CB), "FEATHERBOOT")
    machine.plug_in("ttyACM0", (0x2E8A, 0x000A), serial="E66", location="1-1.2:1.0")
    (board,) = discover(places=machine.places(), lock_dir=machine.lock_dir)
    assert set(board.sources) == {"serial", "drive"}


def test_a_boot_rom_and_its_drive_are_one_board(machine: Machine):
    drive_of(machine, machine.usb_device("1-1.2", 0x2E8A, 0x0003, "E0C9125B0D9B"), "RPI-RP2")
    (board,) = discover(places=machine.places(), lock_dir=machine.lock_dir)
    assert set(board.sources) == {"usb", "drive"}
    assert (board.connection.info, board.serial) == ({"usb": "1-1.2"}, "")
    assert [way.connection.info for way in board.others] == [{"mount_point": str(machine.folder / "media/RPI-RP2")}]


def test_a_boot_rom_with_a_serial_number_of_its_own_is_named_by_it(machine: Machine):
    machine.usb_device("1-1.3", 0x2E8A, 0x000F, "9A1B2C3D4E5F6071")
    machine.usb_device("1-1.4", 0x0483, 0xDF11, "FFFFFFFEFFFF")
    machine.usb_device("1-1", 0x05E3, 0x0610)
    dfu, pico2 = discover(places=machine.places(), lock_dir=machine.lock_dir)
    assert pico2.connection.info == {"usb": "9A1B2C3D4E5F6071"}
    assert "no driver here speaks DFU" in dfu.remarks


def test_an_application_with_the_boot_roms_usb_id_is_no_boot_rom(machine: Machine):
    interface = machine.usb_device("1-1.3", 0x2E8A, 0x000F, "9A1B2C3D4E5F6071") / "1-1.3:1.0"
    interface.mkdir()
    (interface / "bInterfaceClass").write_text("02\n")
    machine.plug_in("ttyACM0", (0x2E8A, 0x000F), serial="9A1B2C3D4E5F6071", location="1-1.3:1.0")
    (board,) = discover(places=machine.places(), lock_dir=machine.lock_dir)
    assert (board.name, board.device_type) == ("Raspberry Pi Pico 2, Arduino", "pico2")
    assert set(board.connection.info) == {"port"}


def test_no_mount_table_is_no_drive(tmp_path: Path):
    assert list(sightings(tmp_path / "none", (), tmp_path)) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=5000))
def test_any_bytes_in_the_info_file_are_a_drive_with_a_name_of_one_line(tmp_path: Path, info: bytes):
    (tmp_path / "INFO_UF2.TXT").write_bytes(info)
    (seen,) = sightings(tmp_path / "none", (tmp_path,), tmp_path)
    assert seen.name.isprintable()
    assert seen.certain is (seen.types == ("pico",))


@given(st.text())
def test_any_text_is_read_as_lines_with_keys(text: str):
    assert all(key.isprintable() and value.isprintable() for key, value in parse_info(text).items())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_any_mount_table_can_be_read(tmp_path: Path, table: bytes):
    mounts = tmp_path / "mounts"
    mounts.write_bytes(table)
    assert list(sightings(mounts, (), tmp_path)) == []
