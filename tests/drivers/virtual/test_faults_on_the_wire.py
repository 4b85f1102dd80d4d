"""Each fault as a tool sees it: stock esptool, a separate process, against a board that has it."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import serial

from drivers.virtual.spec import (
    BitErrors,
    LineDrop,
    PowerLoss,
    SilentLine,
    SlowErase,
    Speed,
    StuckInApp,
    WrongChip,
    WrongMd5,
)
from tests.drivers.virtual.conftest import board, esptool, failing_esptool, finish, flash_of, start_esptool

PART = os.urandom(0x6000)
AT = 0x200000
PATIENCE_S = 30
ONE_ATTEMPT = ("--connect-attempts", 1)
CONNECTED = "Stub flasher running"


@pytest.fixture
def part(tmp_path: Path) -> Path:
    path = tmp_path / "part.bin"
    path.write_bytes(PART)
    return path


def test_a_silent_line_gives_no_data(start) -> None:
    bench = start(board("b", faults=(SilentLine(fault="silent"),)))
    failing_esptool(bench.boards["b"].pty, *ONE_ATTEMPT, "chip-id", says="No serial data received")


def test_a_silence_that_ends_is_bridged_by_another_attempt(start) -> None:
    bench = start(board("b", faults=(SilentLine(fault="silent", times=1),)))
    failing_esptool(bench.boards["b"].pty, *ONE_ATTEMPT, "chip-id")
    esptool(bench.boards["b"].pty, *ONE_ATTEMPT, "chip-id")


def test_the_line_drops_in_the_middle_of_a_write(start, part: Path, tmp_path: Path) -> None:
    drop = LineDrop(fault="line-drop", after_bytes=20_000, times=1)
    bench = start(board("pty", faults=(drop,)), board("net", faults=(drop,)))
    write = ("--chip", "esp32", *ONE_ATTEMPT, "write-flash", "--no-compress", AT, part)
    ports = (bench.boards["pty"].pty, bench.boards["net"].url)
    with ThreadPoolExecutor(2) as at_once:
        list(at_once.map(lambda port: failing_esptool(port, *write, says=CONNECTED), ports))
    for name in bench.boards:
        assert flash_of(tmp_path, name)[AT : AT + len(PART)] != PART
    esptool(bench.boards["pty"].pty, "write-flash", AT, part)
    assert flash_of(tmp_path, "pty")[AT : AT + len(PART)] == PART


def test_bit_errors_are_noticed_and_never_reach_the_flash(start, part: Path, tmp_path: Path) -> None:
    bench = start(board("b", faults=(BitErrors(fault="bit-errors", rate=0.0005),)))
    status, _ = finish(start_esptool(bench.boards["b"].pty, "--chip", "esp32", "write-flash", AT, part))
    written = flash_of(tmp_path, "b")[AT : AT + len(PART)]
    assert (status == 0) == (written == PART), "esptool's verdict is true"


def test_a_wrong_digest_fails_the_verification_although_all_was_written(start, part: Path, tmp_path: Path) -> None:
    bench = start(board("b", faults=(WrongMd5(fault="wrong-md5"),)))
    failing_esptool(bench.boards["b"].pty, "write-flash", AT, part, says="MD5 of file does not match")
    assert flash_of(tmp_path, "b")[AT : AT + len(PART)] == PART
    bench.set_faults("b", [])
    assert "Verification successful" in esptool(bench.boards["b"].pty, "verify-flash", AT, part)


def test_a_wrong_chip_is_one_through_and_through(start) -> None:
    bench = start(board("b", "esp32", faults=(WrongChip(fault="wrong-chip", chip="esp32c3"),)))
    assert "ESP32-C3" in esptool(bench.boards["b"].pty, "chip-id")
    failing_esptool(bench.boards["b"].pty, "--chip", "esp32", "chip-id", says="This chip is ESP32-C3")
    bench.set_faults("b", [])
    assert "ESP32-D0WD-V3" in esptool(bench.boards["b"].pty, "chip-id")


def test_a_board_that_is_stuck_in_its_application_never_answers_as_a_loader(start) -> None:
    bench = start(board("b", faults=(StuckInApp(fault="stuck-in-app"),)))
    failing_esptool(bench.boards["b"].url, *ONE_ATTEMPT, "chip-id")
    with serial.serial_for_url(bench.boards["b"].pty, 115200, timeout=PATIENCE_S) as opened:
        opened.write(b"\nversion\n")
        assert opened.read_until(b"0.0.0").endswith(b"0.0.0"), "its application runs and listens"
    bench.set_faults("b", [])
    esptool(bench.boards["b"].pty, "chip-id")


def test_a_slow_erase_takes_that_much_longer(start) -> None:
    bench = start(board("b", faults=(SlowErase(fault="slow-erase", seconds=1.5, times=1),)))
    port = bench.boards["b"].pty

    def erase_s() -> float:
        began = time.monotonic()
        esptool(port, "erase-region", AT, 0x1000)
        return time.monotonic() - began

    slow = erase_s()
    assert slow >= 1.5
    assert any(erase_s() < slow for _ in range(5)), "a busy machine may make one as slow, not all"


@pytest.mark.parametrize("at_byte", [1, 0x1234])
def test_power_lost_in_a_write_leaves_exactly_what_was_programmed(
    start, part: Path, tmp_path: Path, at_byte: int
) -> None:
    bench = start(board("b", faults=(PowerLoss(fault="power-loss", at_byte=at_byte),)))
    failing_esptool(bench.boards["b"].pty, "write-flash", AT, part, says=CONNECTED)
    expected = PART[:at_byte].ljust(len(PART), b"\xff")
    assert flash_of(tmp_path, "b")[AT : AT + len(PART)] == expected
    failing_esptool(bench.boards["b"].pty, *ONE_ATTEMPT, "chip-id", says="No serial data")  # it stays dead
    bench.power("b", on=True)
    esptool(bench.boards["b"].pty, "write-flash", AT, part)
    assert flash_of(tmp_path, "b")[AT : AT + len(PART)] == PART


def test_power_that_comes_back_lets_the_board_boot_what_is_left(start, tmp_path: Path) -> None:
    other = tmp_path / "other.bin"
    other.write_bytes(b"\x00" * 0x4000)
    bench = start(board("b", faults=(PowerLoss(fault="power-loss", at_byte=10, off_s=0.2),)))
    failing_esptool(bench.boards["b"].pty, *ONE_ATTEMPT, "write-flash", 0x10000, other, says=CONNECTED)
    with serial.serial_for_url(bench.boards["b"].pty, 115200, timeout=PATIENCE_S) as opened:
        said = opened.read_until(b"No bootable app partitions")
    assert b"has invalid magic byte" in said


def test_at_realistic_speed_a_board_takes_the_time_of_the_table(start, part: Path, tmp_path: Path) -> None:
    bench = start(board("b", speed=Speed.REALISTIC))
    began = time.monotonic()
    esptool(bench.boards["b"].pty, "--baud", 460800, "write-flash", AT, part)
    wire_s = 9000 * 10 / 115200 + len(PART) * 10 / 460800  # the stub, then the data (random: it does not compress)
    flash_s = 1.6 * len(PART) / 1e6 + 2 * 3.3 * len(PART) / 1e6
    assert time.monotonic() - began > 0.4 + wire_s + flash_s
    assert flash_of(tmp_path, "b")[AT : AT + len(PART)] == PART
