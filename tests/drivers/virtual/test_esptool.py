"""Stock esptool, as a separate process, against boards of the bench: every command that people use."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from drivers.virtual.client import Bench
from drivers.virtual.spec import BenchSpec
from tests.drivers.virtual.conftest import CHIPS, board, esptool, failing_esptool, flash_of

MAC = "24:0a:c4:0b:0c:0d"
LATER = ("esp32", "esp32s3", "esp32c3")
NAMES = {"esp32": "ESP32-D0WD-V3", "esp32s3": "ESP32-S3", "esp32c3": "ESP32-C3", "esp8266": "ESP8266EX"}
PART = os.urandom(0x2345) + b"\xc0\xdb\xdc\xdd\xff" * 200 + bytes(0x1800)


class Lab:
    """A bench with one board of each chip, its state folder, and a file to write."""

    def __init__(self, bench: Bench, state: Path) -> None:
        self.bench = bench
        self.state = state
        self.file = state / "part.bin"
        self.file.write_bytes(PART)

    def pty(self, chip: str) -> str:
        return self.bench.boards[chip].pty

    def flash(self, chip: str, at: int, size: int = len(PART)) -> bytes:
        return flash_of(self.state, chip)[at : at + size]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    state = tmp_path_factory.mktemp("lab")
    with Bench.start(BenchSpec(state=state, boards=tuple(board(chip, chip, mac=MAC) for chip in CHIPS))) as bench:
        yield Lab(bench, state)


def test_over_rfc2217_every_chip_is_reset_into_its_loader_flashed_and_verified(lab: Lab) -> None:
    rates = dict(zip(CHIPS, (921600, 115200, 460800, 230400), strict=True))

    def write(chip: str) -> str:
        return esptool(lab.bench.boards[chip].url, "--baud", rates[chip], "write-flash", 0x30000, lab.file)

    with ThreadPoolExecutor(len(CHIPS)) as at_once:
        outputs = dict(zip(CHIPS, at_once.map(write, CHIPS), strict=True))
    for chip, output in outputs.items():
        assert "Hash of data verified" in output
        assert "Hard resetting via RTS pin" in output
        assert lab.flash(chip, 0x30000) == PART


@pytest.mark.parametrize("mode", [(), ("--no-stub",)], ids=["stub", "rom"])
@pytest.mark.parametrize("chip", CHIPS)
def test_the_chip_its_mac_and_its_flash_are_recognised(lab: Lab, chip: str, mode: tuple[str, ...]) -> None:
    output = esptool(lab.pty(chip), *mode, "flash-id")
    assert NAMES[chip] in output
    assert MAC in output
    assert f"Detected flash size: {'8MB' if chip == 'esp32s3' else '4MB'}" in output


@pytest.mark.parametrize("command", ["chip-id", "read-mac"])
@pytest.mark.parametrize("chip", CHIPS)
def test_identity_commands_work(lab: Lab, chip: str, command: str) -> None:
    assert MAC in esptool(lab.pty(chip), "--no-stub", command)


@pytest.mark.parametrize("generation", ["1", "2"])
@pytest.mark.parametrize("chip", CHIPS)
def test_both_generations_of_the_stub_are_recognised(lab: Lab, chip: str, generation: str) -> None:
    assert "Stub flasher running" in esptool(lab.pty(chip), "--stub-version", generation, "read-mac")


@pytest.mark.parametrize("baud", [115200, 74880, 230400, 460800, 921600, 2000000])
@pytest.mark.parametrize("packing", [(), ("--no-compress",)], ids=["compressed", "plain"])
def test_the_stub_writes_at_any_baud(lab: Lab, baud: int, packing: tuple[str, ...]) -> None:
    at = 0x40000 if packing else 0x50000
    esptool(lab.pty("esp32"), "erase-region", at, 0x8000)
    output = esptool(lab.pty("esp32"), "--baud", baud, "write-flash", *packing, at, lab.file)
    assert "Hash of data verified" in output
    assert lab.flash("esp32", at) == PART


@pytest.mark.parametrize("packing", [(), ("--no-compress",)], ids=["compressed", "plain"])
@pytest.mark.parametrize("chip", ["esp32s3", "esp32c3", "esp8266"])
def test_the_stub_of_every_chip_writes(lab: Lab, chip: str, packing: tuple[str, ...]) -> None:
    at = 0x40000 if packing else 0x50000
    assert "Hash of data verified" in esptool(lab.pty(chip), "write-flash", *packing, at, lab.file)
    assert lab.flash(chip, at) == PART


@pytest.mark.parametrize("packing", [(), ("--no-compress",)], ids=["compressed", "plain"])
@pytest.mark.parametrize("chip", CHIPS)
def test_the_rom_of_every_chip_writes(lab: Lab, chip: str, packing: tuple[str, ...]) -> None:
    at = 0x60000 if packing else 0x70000
    output = esptool(lab.pty(chip), "--no-stub", "--baud", 460800, "write-flash", *packing, at, lab.file)
    assert ("Hash of data verified" in output) == (chip != "esp8266"), "the ESP8266's ROM can not hash"
    assert lab.flash(chip, at) == PART


@pytest.mark.parametrize("chip", CHIPS)
def test_flash_is_read_back(lab: Lab, chip: str, tmp_path: Path) -> None:
    esptool(lab.pty(chip), "write-flash", 0x80000, lab.file)
    esptool(lab.pty(chip), "--baud", 921600, "read-flash", 0x80000, len(PART), tmp_path / "read.bin")
    assert (tmp_path / "read.bin").read_bytes() == PART


@pytest.mark.parametrize("chip", LATER)
def test_the_rom_reads_flash_back_slowly(lab: Lab, chip: str, tmp_path: Path) -> None:
    esptool(lab.pty(chip), "write-flash", 0x80000, lab.file)
    esptool(lab.pty(chip), "--no-stub", "read-flash", 0x80000, 0x1234, tmp_path / "read.bin")
    assert (tmp_path / "read.bin").read_bytes() == PART[:0x1234]


@pytest.mark.parametrize("mode", [(), ("--no-stub",)], ids=["stub", "rom"])
@pytest.mark.parametrize("chip", LATER)
def test_verifying_tells_right_from_wrong(lab: Lab, chip: str, mode: tuple[str, ...], tmp_path: Path) -> None:
    other = tmp_path / "other.bin"
    other.write_bytes(PART[:-1] + b"\x01")
    esptool(lab.pty(chip), "write-flash", 0x90000, lab.file)
    assert "Verification successful" in esptool(lab.pty(chip), *mode, "verify-flash", 0x90000, lab.file)
    failing_esptool(lab.pty(chip), *mode, "verify-flash", 0x90000, other, says="Verification failed")


@pytest.mark.parametrize("mode", [(), ("--no-stub",)], ids=["stub", "rom"])
@pytest.mark.parametrize("chip", LATER)
def test_a_region_is_erased_and_nothing_around_it(lab: Lab, chip: str, mode: tuple[str, ...], tmp_path: Path) -> None:
    zeros = tmp_path / "zeros.bin"
    zeros.write_bytes(bytes(0x4000))
    esptool(lab.pty(chip), "write-flash", 0xA0000, zeros)
    esptool(lab.pty(chip), *mode, "erase-region", 0xA1000, 0x2000)
    assert lab.flash(chip, 0xA0000, 0x4000) == bytes(0x1000) + b"\xff" * 0x2000 + bytes(0x1000)


@pytest.mark.parametrize("chip", ["esp32", "esp8266"])
def test_only_what_differs_is_written_where_esptool_knows_the_old_contents(lab: Lab, chip: str, tmp_path: Path) -> None:
    newer = tmp_path / "newer.bin"
    newer.write_bytes(PART[:0x100] + b"new" + PART[0x103:])
    esptool(lab.pty(chip), "write-flash", 0xB0000, lab.file)
    output = esptool(lab.pty(chip), "write-flash", 0xB0000, newer, "--diff-with", lab.file)
    assert re.search(r"Wrote (\d+) bytes", output)[1] == "4096"
    assert lab.flash(chip, 0xB0000) == newer.read_bytes()


def test_the_flash_chips_own_registers_can_be_read(lab: Lab) -> None:
    assert "0x0000" in esptool(lab.pty("esp32"), "read-flash-status")
    assert "0x53 0x46 0x44 0x50" in esptool(lab.pty("esp32"), "read-flash-sfdp", 0, 4)


def test_security_info_is_there_from_the_s3_on(lab: Lab) -> None:
    assert "Chip ID: 9" in esptool(lab.pty("esp32s3"), "get-security-info")
    failing_esptool(lab.pty("esp32"), "get-security-info")


def test_another_chip_than_asked_for_is_told_apart(lab: Lab) -> None:
    failing_esptool(lab.pty("esp32c3"), "--chip", "esp32", "chip-id", says="This chip is ESP32-C3, not ESP32")


def test_a_stub_that_still_runs_is_found_again(lab: Lab) -> None:
    esptool(lab.bench.boards["esp32"].url, "--chip", "esp32", "--after", "no-reset-stub", "read-mac")
    output = esptool(lab.bench.boards["esp32"].url, "--chip", "esp32", "--before", "no-reset", "read-mac")
    assert "Stub flasher is already running" in output


def test_the_whole_flash_is_erased(start, tmp_path: Path) -> None:
    bench = start(board("blank"), board("smaller", flash_size=1 << 20))
    esptool(bench.boards["blank"].pty, "erase-flash")
    assert flash_of(tmp_path, "blank") == b"\xff" * (4 << 20)
    assert "Detected flash size: 1MB" in esptool(bench.boards["smaller"].pty, "flash-id")
