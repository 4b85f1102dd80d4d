"""The boot drive does with files what the boot ROMs do: their traps were measured on real chips."""

from __future__ import annotations

import asyncio
import os
import random
import struct
from pathlib import Path

import pytest
import serial

from drivers.virtual.pico import firmware
from drivers.virtual.pico.chips import CHIPS, FLASH_BASE
from drivers.virtual.spec import PowerLoss, SlowErase
from tests.drivers.virtual.conftest import board, flash_of
from tests.drivers.virtual.pico.conftest import (
    ABSOLUTE,
    DRIVES,
    ERASED_SECTOR,
    FAMILY,
    PAGE,
    RP2040,
    RP2350_ARM_S,
    SECTOR,
    cp,
    eventually,
    has_drive,
    in_loader,
    on_board,
    pages_of,
    uf2,
    uf2_block,
    uf2conv,
    until,
)

BLANK = b"\xff" * SECTOR
OLD = b"\x5a" * (64 * SECTOR)


def write(folder: Path, data: bytes, name: str = "x.uf2") -> None:
    with (folder / name).open("wb") as file:
        file.write(data)


def after(
    tmp_path: Path, chip: str, data: bytes, *, restarts: bool, contents: bytes = OLD, last: bytes | None = None
) -> bytes:
    """The flash after a file was written to the drive of a board in its boot loader. `last`: its last page."""
    flash = tmp_path / "b" / "flash.bin"

    async def test(it) -> None:
        await in_loader(it)
        write(it.drive.path, data)
        if restarts:
            await eventually(lambda: not (it.drive.path / "x.uf2").exists())
            return
        if last is not None:
            await eventually(lambda: last in flash.read_bytes())
        await asyncio.sleep(0.3)  # nothing can be awaited: nothing happens any more
        assert has_drive(str(it.drive.path))

    return on_board(tmp_path, chip, test, contents=contents)


@DRIVES
@pytest.mark.parametrize("chip", ["pico", "pico2"])
def test_cp_of_what_uf2conv_made_updates_the_board_and_the_drive_leaves(start, tmp_path: Path, chip: str, drive: str):
    made = CHIPS[chip]
    app = firmware.build_app(made, "blink", "2.5.0")
    (tmp_path / "app.bin").write_bytes(app)
    (tmp_path / "blank.bin").write_bytes(BLANK)
    uf2conv(tmp_path / "app.bin", tmp_path / "app.uf2", {"pico": "RP2040", "pico2": "RP2350_ARM_S"}[chip])
    bench = start(board("b", chip, factory=tmp_path / "blank.bin", options={"drive": drive}))
    ports = bench.boards["b"]
    until(lambda: has_drive(ports.mount_point))
    assert cp(tmp_path / "app.uf2", ports.mount_point).returncode == 0
    until(lambda: not any(Path(ports.mount_point).iterdir()))
    assert flash_of(tmp_path, "b")[: len(app)] == app
    with serial.Serial(ports.pty, 115200, timeout=30) as console:
        assert console.read_until(b"\n") == b"blink 2.5.0 ready\r\n"


@pytest.mark.parametrize(
    ("chip", "lines"),
    [
        ("pico", ["UF2 Bootloader v3.0", "Model: Raspberry Pi RP2", "Board-ID: RPI-RP2"]),
        ("pico2", ["UF2 Bootloader v1.0", "Model: Raspberry Pi RP2350", "Board-ID: RP2350"]),
    ],
)
def test_a_board_without_firmware_shows_its_drive_with_two_files(tmp_path: Path, chip: str, lines: list[str]):
    async def test(it) -> None:
        await eventually(lambda: has_drive(str(it.drive.path)))
        assert sorted(entry.name for entry in it.drive.path.iterdir()) == ["INDEX.HTM", "INFO_UF2.TXT"]
        assert (it.drive.path / "INFO_UF2.TXT").read_text().splitlines() == lines

    on_board(tmp_path, chip, test, contents=BLANK)


def test_a_flash_whose_second_stage_has_a_wrong_checksum_is_none_to_start_from(tmp_path: Path):
    broken = bytearray(firmware.build_app(CHIPS["pico"], "x", "1"))
    broken[100] ^= 1

    async def test(it) -> None:
        await eventually(lambda: has_drive(str(it.drive.path)))

    on_board(tmp_path, "pico", test, contents=bytes(broken))


@pytest.mark.parametrize("chip", ["pico", "pico2"])
def test_blocks_count_in_any_order_and_twice(tmp_path: Path, chip: str):
    app = firmware.build_app(CHIPS[chip], "x", "1.0.0")
    data = uf2(pages_of(app), FAMILY[CHIPS[chip].name])
    blocks = [data[at : at + 512] for at in range(0, len(data), 512)]
    shuffled = random.Random(1).sample(blocks, len(blocks))
    flash = after(tmp_path, chip, b"".join([*shuffled[:-1], *shuffled[:5], shuffled[-1]]), restarts=True)
    assert flash[: len(app)] == app


@pytest.mark.parametrize(
    "change",
    [
        {"family": RP2350_ARM_S},
        {"family": 0x12345678},
        {"flags": 0},
        {"flags": 0x2001},
        {"payload": 128},
        {"payload": 476},
    ],
)
def test_what_the_rom_does_not_like_it_ignores_in_silence(tmp_path: Path, change: dict[str, int]):
    block = uf2_block(0, 1, FLASH_BASE, b"\0" * PAGE, **change)
    assert after(tmp_path, "pico", block, restarts=False)[: len(OLD)] == OLD


def test_an_image_for_rp2040_is_ignored_by_rp2350(tmp_path: Path):
    block = uf2_block(0, 1, FLASH_BASE, b"\0" * PAGE, RP2040)
    assert after(tmp_path, "pico2", block, restarts=False)[: len(OLD)] == OLD


def test_other_files_are_ignored(tmp_path: Path):
    assert after(tmp_path, "pico", b"hello" * 1000, restarts=False)[: len(OLD)] == OLD


def test_an_incomplete_file_never_restarts_the_board_but_its_blocks_are_in_flash(tmp_path: Path):
    data = uf2({FLASH_BASE + PAGE * page: bytes([page]) * PAGE for page in range(4)})
    flash = after(tmp_path, "pico", data[: 3 * 512], restarts=False, last=b"\2" * PAGE)
    assert flash[: 3 * PAGE] == b"".join(bytes([page]) * PAGE for page in range(3))
    assert flash[3 * PAGE : SECTOR] == b"\xff" * (SECTOR - 3 * PAGE)


@pytest.mark.parametrize(("chip", "survives"), [("pico", False), ("pico2", True)])
def test_a_file_with_a_gap_is_corrupted_by_rp2040_although_it_restarts_as_after_a_success(
    tmp_path: Path, chip: str, survives: bool
):
    """Blocks 8 to 15 lie in another sector than blocks 0 to 7, but share their group: it is not erased."""
    first = {FLASH_BASE + PAGE * page: os.urandom(PAGE) for page in range(8)}
    second = {FLASH_BASE + 4 * SECTOR + PAGE * page: os.urandom(PAGE) for page in range(8)}
    flash = after(tmp_path, chip, uf2(first | second, FAMILY[CHIPS[chip].name]), restarts=True)
    assert flash[: 8 * PAGE] == b"".join(first.values())
    written = flash[4 * SECTOR : 4 * SECTOR + 8 * PAGE]
    wanted = b"".join(second.values())
    anded = bytes(a & b for a, b in zip(wanted, OLD, strict=False))
    assert written == (wanted if survives else anded)


def test_addresses_beyond_the_chip_wrap(tmp_path: Path):
    page = os.urandom(PAGE)
    flash = after(tmp_path, "pico", uf2({FLASH_BASE + (2 << 20) + SECTOR: page}), restarts=True)
    assert flash[SECTOR : SECTOR + PAGE] == page


def test_the_block_that_works_around_rp2350_e10_costs_the_last_sector_and_completes_nothing(tmp_path: Path):
    e10 = uf2_block(0, 2, 0x10FFFF00, b"\xef" * PAGE + struct.pack("<I", 0x9957E304), ABSOLUTE, 0xA000)
    flash = after(tmp_path, "pico2", e10, restarts=False, contents=OLD, last=b"\xef" * PAGE)
    assert flash[-SECTOR:] == b"\xff" * (SECTOR - PAGE) + b"\xef" * PAGE
    app = firmware.build_app(CHIPS["pico2"], "x", "1.0.0")
    (tmp_path / "two").mkdir()
    again = after(tmp_path / "two", "pico2", e10 + uf2(pages_of(app), RP2350_ARM_S), restarts=True)
    assert again[: len(app)] == app


def test_blocks_arrive_while_the_file_still_grows(tmp_path: Path):
    data = uf2({FLASH_BASE + PAGE * page: bytes([page]) * PAGE for page in range(3)})

    async def test(it) -> None:
        await in_loader(it)
        with (it.drive.path / "slow.uf2").open("wb") as file:
            for at in range(0, len(data), 700):
                file.write(data[at : at + 700])
                file.flush()
                await asyncio.sleep(0.05)
        await eventually(lambda: not (it.drive.path / "slow.uf2").exists())

    flash = on_board(tmp_path, "pico", test, contents=OLD)
    assert flash[: 3 * PAGE] == b"".join(bytes([page]) * PAGE for page in range(3))


@pytest.mark.parametrize("at_byte", [1, 0x1234])
def test_power_that_is_lost_leaves_exactly_what_was_programmed(tmp_path: Path, at_byte: int):
    app = firmware.build_app(CHIPS["pico"], "x", "1.0.0")

    async def test(it) -> None:
        await in_loader(it)
        it.set_faults([PowerLoss(fault="power-loss", at_byte=at_byte)])
        write(it.drive.path, uf2(pages_of(app)))
        await eventually(lambda: not has_drive(str(it.drive.path)))
        assert it._power.is_on is False

    flash = on_board(tmp_path, "pico", test, contents=OLD)
    whole = -(-at_byte // SECTOR) * SECTOR
    assert flash[:whole] == app[:at_byte].ljust(whole, b"\xff")
    assert flash[whole : len(OLD)] == OLD[whole:]


def test_a_slow_erase_takes_that_much_longer(tmp_path: Path):
    async def test(it) -> None:
        await in_loader(it)
        it.set_faults([SlowErase(fault="slow-erase", seconds=0.4, times=1)])
        began = asyncio.get_running_loop().time()
        write(it.drive.path, uf2({FLASH_BASE: b"\0" * PAGE}))
        await eventually(lambda: not (it.drive.path / "x.uf2").exists())
        assert asyncio.get_running_loop().time() - began >= 0.4

    assert on_board(tmp_path, "pico", test)[:SECTOR] == b"\0" * PAGE + ERASED_SECTOR[PAGE:]


def test_code_for_ram_is_taken_and_never_heard_of(tmp_path: Path):
    async def test(it) -> None:
        await in_loader(it)
        write(it.drive.path, uf2({0x2000_0000: b"\0" * PAGE}))
        await eventually(lambda: not has_drive(str(it.drive.path)))
        await asyncio.sleep(0.2)
        assert not it._in_app

    assert on_board(tmp_path, "pico", test, contents=OLD)[: len(OLD)] == OLD
