"""PICOBOOT on the virtual boards, asked by programs that are not ours: raw commands through PyPI's `usbip`, and Linux's
`usbip list`.
"""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from usbip.core import USBError
from usbip.host import Connection, Handle
from usbip.host import open as usb_open
from usbip.transport import USBIP

from drivers.virtual.pico.chips import CHIPS, FLASH_BASE
from drivers.virtual.spec import LineDrop, PowerLoss
from tests.drivers.virtual.conftest import board, flash_of
from tests.drivers.virtual.pico.conftest import SECTOR, has_drive, uf2_block, until

BLANK = b"\xff" * SECTOR
OUT, IN = 0x03, 0x84
EXCLUSIVE, REBOOT, ERASE, READ, WRITE, EXIT_XIP, REBOOT2, GET_INFO = 1, 2, 3, 0x84, 5, 6, 10, 0x8B
OK, UNKNOWN, CMD_LENGTH, TRANSFER_LENGTH, ADDRESS, ALIGNMENT, REBOOTING = 0, 1, 2, 3, 4, 5, 7


def port_of(usb: str) -> int:
    return int(usb.removeprefix("usbip://127.0.0.1:").split("/")[0])


class Boot:
    """Commands as in RP2040's datasheet, 2.8.5.4."""

    def __init__(self, handle: Handle) -> None:
        self.handle = handle
        self.token = 0

    def send(self, command: int, arguments: bytes = b"", length: int = 0, magic: int = 0x431FD10B) -> None:
        self.token += 1
        packet = struct.pack("<IIBBHI16s", magic, self.token, command, len(arguments), 0, length, arguments)
        self.handle.bulk_out(OUT, packet)

    def run(self, command: int, arguments: bytes = b"") -> None:
        self.send(command, arguments)
        assert self.handle.bulk_in(IN, 64) == b""

    def read(self, address: int, size: int) -> bytes:
        self.send(READ, struct.pack("<II", address, size), size)
        data = self.handle.bulk_in(IN, size)
        self.handle.bulk_out(OUT, b"")
        return data

    def write(self, address: int, data: bytes) -> None:
        self.send(WRITE, struct.pack("<II", address, len(data)), len(data))
        self.handle.bulk_out(OUT, data)
        assert self.handle.bulk_in(IN, 64) == b""

    def status(self) -> int:
        token, status, _, in_progress = struct.unpack("<IIBB6x", self.handle.control(0xC1, 0x42, 0, 1, 16))
        assert token == self.token
        assert not in_progress
        return status

    def reset(self) -> None:
        for endpoint in (IN, OUT):
            if self.handle.control(0x82, 0, 0, endpoint, 2)[0] & 1:
                self.handle.clear_halt(endpoint)
        self.handle.control(0x41, 0x41, 0, 1, b"")

    def refused(self, *command: object) -> int:
        """The status of a command that halts both endpoints."""
        self.send(*command)
        with pytest.raises(USBError):
            self.handle.bulk_in(IN, 64)
        with pytest.raises(USBError):
            self.handle.bulk_out(OUT, b"")
        status = self.status()
        self.reset()
        return status


@pytest.fixture(params=["pico", "pico2"])
def chip(request) -> str:
    return request.param


@pytest.fixture
def bench(start, tmp_path: Path, chip: str):
    (tmp_path / "blank.bin").write_bytes(BLANK)
    running = start(board("b", chip, factory=tmp_path / "blank.bin"))
    until(lambda: has_drive(running.boards["b"].mount_point))
    return running


@pytest.fixture
def boot(bench, chip: str) -> Iterator[Boot]:
    transport = USBIP("127.0.0.1", port_of(bench.boards["b"].usb))
    with usb_open(0x2E8A, CHIPS[chip].product_id, busid="1-1", transport=transport) as handle:
        boot = Boot(handle)
        boot.run(EXIT_XIP)
        yield boot


def test_linux_lists_the_boot_loader_while_it_is_there(bench, chip: str):
    command = ["/usr/sbin/usbip", "--tcp-port", str(port_of(bench.boards["b"].usb)), "list", "--remote", "127.0.0.1"]
    listed = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
    assert f"(2e8a:{CHIPS[chip].product_id:04x})" in listed
    assert "Mass Storage / SCSI / Bulk-Only (08/06/50)" in listed
    assert "(ff/00/00)" in listed
    bench.power("b", on=False)
    assert "2e8a" not in subprocess.run(command, capture_output=True, text=True, timeout=30).stdout


def test_descriptors_are_those_of_the_rom(boot: Boot, chip: str):
    configuration = boot.handle.control(0x80, 6, 0x0200, 0, 255)
    assert len(configuration) == int.from_bytes(configuration[2:4], "little") == 9 + 2 * (9 + 7 + 7)
    strings = [boot.handle.control(0x80, 6, 0x0300 | index, 0x0409, 255)[2:].decode("utf-16-le") for index in (1, 2, 3)]
    assert strings[:2] == ["Raspberry Pi", {"pico": "RP2 Boot", "pico2": "RP2350 Boot"}[chip]]
    assert strings[2] == "E0C9125B0D9B" if chip == "pico" else len(strings[2]) == 16
    assert boot.handle.control(0x80, 6, 0x0304, 0x0409, 255) == b"\x02\x03", "a string that is not there is empty"


def test_flash_is_erased_by_sectors_written_by_pages_and_only_clears_bits(boot: Boot, tmp_path: Path):
    data = os.urandom(SECTOR)
    boot.run(EXCLUSIVE, b"\x01")
    boot.run(EXIT_XIP)
    boot.run(ERASE, struct.pack("<II", FLASH_BASE + SECTOR, SECTOR))
    boot.write(FLASH_BASE + SECTOR, data)
    assert boot.read(FLASH_BASE + SECTOR, SECTOR) == data
    assert flash_of(tmp_path, "b")[SECTOR : 2 * SECTOR] == data
    boot.write(FLASH_BASE + SECTOR, b"\x0f" * 256)
    assert boot.read(FLASH_BASE + SECTOR, 256) == bytes(byte & 0x0F for byte in data[:256])
    assert boot.read(FLASH_BASE + (16 << 20) - 256, 256) == b"\xff" * 256


def test_ram_and_rom_can_be_read(boot: Boot, chip: str):
    boot.write(0x2000_0100, b"hello")
    assert boot.read(0x2000_0100, 5) == b"hello"
    assert boot.read(0x10, 4) == {"pico": b"Mu\x01\x03", "pico2": b"Mu\x02\x02"}[chip]


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ((0x77,), UNKNOWN),
        ((0x00,), UNKNOWN),
        ((EXIT_XIP, b"x"), CMD_LENGTH),
        ((READ, struct.pack("<II", FLASH_BASE, 256), 255), TRANSFER_LENGTH),
        ((EXCLUSIVE, b"\x01", 1), TRANSFER_LENGTH),
    ],
)
def test_a_malformed_command_halts_both_endpoints_and_its_status_says_why(boot: Boot, command, status: int):
    assert boot.refused(*command) == status
    assert len(boot.read(FLASH_BASE, 256)) == 256


def test_a_packet_that_is_no_command_halts_without_a_status(boot: Boot):
    boot.send(EXIT_XIP, magic=0xDEADBEEF)
    with pytest.raises(USBError):
        boot.handle.bulk_in(IN, 64)
    boot.reset()
    boot.run(EXIT_XIP)


@pytest.mark.parametrize(("address", "status"), [(FLASH_BASE + 1, ALIGNMENT), (0x3000_0000, ADDRESS)])
def test_reading_where_nothing_can_be_read_is_refused(boot: Boot, chip: str, address: int, status: int):
    boot.send(READ, struct.pack("<II", address, 256), 256)
    with pytest.raises(USBError):
        boot.handle.bulk_in(IN, 256)
    assert boot.status() == status
    assert bool(boot.handle.control(0x82, 0, 0, OUT, 2)[0]) == (chip == "pico2"), (
        "RP2040 halts only the data's endpoint"
    )
    boot.reset()
    assert len(boot.read(FLASH_BASE, 256)) == 256


def test_an_erase_that_is_refused_is_acknowledged_by_rp2040_as_if_it_had_been_done(
    boot: Boot, chip: str, tmp_path: Path
):
    boot.write(FLASH_BASE + 2 * SECTOR, b"\x00" * 256)
    wrong = struct.pack("<II", FLASH_BASE + 2 * SECTOR, 100)
    if chip == "pico":
        boot.run(ERASE, wrong)
        assert boot.status() == OK
    else:
        assert boot.refused(ERASE, wrong) == ALIGNMENT
    assert flash_of(tmp_path, "b")[2 * SECTOR :][:256] == b"\x00" * 256


def test_exclusive_access_keeps_the_drive_from_writing(boot: Boot, bench, tmp_path: Path, chip: str):
    boot.run(EXCLUSIVE, b"\x01")
    family = 0xE48BFF56 if chip == "pico" else 0xE48BFF59
    (Path(bench.boards["b"].mount_point) / "x.uf2").write_bytes(uf2_block(0, 1, FLASH_BASE, b"\0" * 256, family))
    for _ in range(20):  # the drive is looked at every 20 ms
        assert boot.read(FLASH_BASE, 256) == b"\xff" * 256
    boot.run(EXCLUSIVE, b"\x02")
    assert not has_drive(bench.boards["b"].mount_point), "EXCLUSIVE_AND_EJECT"


def test_reboot_answers_then_the_device_leaves_and_comes_back(boot: Boot, bench, chip: str):
    if chip == "pico":
        assert boot.refused(REBOOT2, bytes(16)) == UNKNOWN
        boot.run(REBOOT, struct.pack("<III", 0, 0, 3000))  # ms: it answers before, also to a slow host
    else:
        assert boot.refused(REBOOT, bytes(12)) == UNKNOWN
        boot.run(REBOOT2, struct.pack("<IIII", 0, 3000, 0, 0))
    with pytest.raises((USBError, OSError)):
        while True:
            boot.handle.control(0x80, 8, 0, 0, 1)
    until(lambda: has_drive(bench.boards["b"].mount_point))  # its flash is blank


def test_rp2350_tells_its_unique_number_twice(boot: Boot, chip: str):
    if chip == "pico":
        assert boot.refused(GET_INFO, struct.pack("<BBHIII", 1, 0, 0, 1, 0, 0), 32) == UNKNOWN
        return
    boot.send(GET_INFO, struct.pack("<BBHIII", 1, 0, 0, 1, 0, 0), 32)
    count, flags, _package, low, high = struct.unpack("<5I12x", boot.handle.bulk_in(IN, 32))
    boot.handle.bulk_out(OUT, b"")
    assert (count, flags) == (4, 1)
    serial = boot.handle.control(0x80, 6, 0x0303, 0x0409, 255)[2:].decode("utf-16-le")
    assert f"{high:08X}{low:08X}" == serial


def test_a_second_client_is_refused(boot: Boot, bench):
    transport = USBIP("127.0.0.1", port_of(bench.boards["b"].usb))
    second = Connection(transport.connect())
    with pytest.raises(USBError, match=r"rejected \(status 2\)"):
        second.import_device("1-1")
    second.close()


def test_power_that_is_lost_leaves_exactly_what_was_programmed(boot: Boot, bench, tmp_path: Path):
    data = os.urandom(SECTOR)
    bench.set_faults("b", [PowerLoss(fault="power-loss", at_byte=1000)])
    with pytest.raises((USBError, OSError)):
        boot.write(FLASH_BASE, data)
    assert flash_of(tmp_path, "b")[:SECTOR] == data[:1000].ljust(SECTOR, b"\xff")
    assert not has_drive(bench.boards["b"].mount_point)


def test_a_cable_that_comes_loose_ends_the_connection(bench, chip: str):
    bench.set_faults("b", [LineDrop(fault="line-drop", after_bytes=100, times=1)])
    transport = USBIP("127.0.0.1", port_of(bench.boards["b"].usb))
    with usb_open(0x2E8A, CHIPS[chip].product_id, busid="1-1", transport=transport) as handle:
        boot = Boot(handle)
        with pytest.raises((USBError, OSError)):
            boot.write(FLASH_BASE, bytes(256))
    with usb_open(0x2E8A, CHIPS[chip].product_id, busid="1-1", transport=transport) as handle:
        boot = Boot(handle)
        boot.reset()
        boot.run(EXIT_XIP)
        assert boot.read(FLASH_BASE, 256) == b"\xff" * 256
