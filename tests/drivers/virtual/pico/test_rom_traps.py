"""What RP2040's ROM does in an emulator that no document tells, and RP2350's by its source: the bench does so, too."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from drivers.virtual.faults import Faults
from drivers.virtual.flash import NorFlash, create
from drivers.virtual.pico.cdc import CdcWire
from drivers.virtual.pico.chips import RP2040, RP2350, Chip
from drivers.virtual.pico.machine import Machine
from drivers.virtual.pico.picoboot import STALL, Picoboot
from drivers.virtual.pico.uf2_loader import Uf2Loader
from drivers.virtual.spec import SlowErase, Speed
from drivers.virtual.timing import Pace
from tests.drivers.virtual.pico.conftest import FAMILY, FLASH_BASE, PAGE, SECTOR, eventually, pages_of, uf2, uf2_block

NOT_PERMITTED = 10
EXCLUSIVE, ERASE, READ, WRITE, EXIT_XIP = 1, 3, 0x84, 5, 6
OLD = b"\x55" * (4 * SECTOR)
BOTH = pytest.mark.parametrize("chip", [RP2040, RP2350], ids=["rp2040", "rp2350"])


class Rom:
    """The boot loader of a chip, and a host at its endpoints."""

    def __init__(self, chip: Chip, cells: NorFlash, *faults: SlowErase) -> None:
        self.chip, self.cells, self._token = chip, cells, 0
        pace = Pace(Speed.FAST)
        machine = Machine(chip, cells, CdcWire(pace, Faults(faults, "x")), pace)
        self.drive = Uf2Loader(machine)
        self.boot = Picoboot(machine, self.drive, bytes(8), lambda _into, _after_s: None, lambda: None)

    async def send(self, command: int, *words: int, length: int = 0) -> int:
        self._token += 1
        arguments = bytes(words) if command == EXCLUSIVE else struct.pack(f"<{len(words)}I", *words)
        packet = struct.pack("<IIBBHI16s", 0x431FD10B, self._token, command, len(arguments), 0, length, arguments)
        return await self.boot.out(packet)

    async def run(self, command: int, *words: int) -> None:
        assert await self.send(command, *words) == 0
        assert await self.boot.take_in(64) == b""

    async def read(self, address: int, size: int) -> bytes | None:
        await self.send(READ, address, size, length=size)
        data = await self.boot.take_in(size)
        if data is not None:
            assert await self.boot.out(b"") == 0
        return data

    @property
    def is_busy(self) -> bool:
        return bool(self.boot.command_status()[9])

    async def copy(self, data: bytes) -> list[bool]:
        return [await self.drive.write(data[at : at + 512]) for at in range(0, len(data), 512)]


@pytest.fixture
def on(tmp_path: Path) -> Callable[..., None]:
    def run(chip: Chip, test: Callable[[Rom], Awaitable[None]], *faults: SlowErase) -> None:
        async def alive() -> None:
            create(tmp_path / "flash.bin", 1 << 18, OLD)
            cells = NorFlash(tmp_path / "flash.bin")
            try:
                async with asyncio.timeout(20):
                    await test(Rom(chip, cells, *faults))
            finally:
                cells.close()

        asyncio.run(alive())

    return run


async def waits(transfer: Awaitable[object]) -> bool:
    """Whether nobody answers."""
    try:
        await asyncio.wait_for(transfer, 0.05)
    except TimeoutError:
        return True
    return False


@BOTH
def test_flash_reads_as_zeros_after_each_new_configuration_until_exit_xip(on, chip: Chip):
    async def test(rom: Rom) -> None:
        for _ in range(2):
            assert await rom.read(FLASH_BASE, PAGE) == bytes(PAGE)
            await rom.run(EXIT_XIP)
            assert await rom.read(FLASH_BASE, PAGE) == OLD[:PAGE]
            rom.boot.configure()

    on(chip, test)


@BOTH
def test_an_erase_goes_on_without_its_host(on, chip: Chip):
    async def test(rom: Rom) -> None:
        assert await rom.send(ERASE, FLASH_BASE, SECTOR) == 0
        assert rom.is_busy
        await eventually(lambda: not rom.is_busy)
        assert rom.cells.read(0, 2 * SECTOR) == b"\xff" * SECTOR + OLD[:SECTOR]

    on(chip, test, SlowErase(fault="slow-erase", seconds=0.1))


@BOTH
def test_an_erase_that_a_reset_cuts_short_is_acknowledged_to_what_comes_next(on, chip: Chip):
    async def test(rom: Rom) -> None:
        await rom.send(ERASE, FLASH_BASE, SECTOR)
        rom.boot.reset()
        await rom.run(EXIT_XIP)
        await rom.send(READ, FLASH_BASE, PAGE, length=PAGE)
        assert await rom.boot.take_in(PAGE) == b"", "the answer to EXIT_XIP: one behind"

    on(chip, test, SlowErase(fault="slow-erase", seconds=0.1))


@BOTH
def test_a_page_that_is_sent_in_part_is_programmed_whole_with_zeros(on, chip: Chip):
    async def test(rom: Rom) -> None:
        await rom.run(EXIT_XIP)
        await rom.run(ERASE, FLASH_BASE, SECTOR)
        await rom.send(WRITE, FLASH_BASE, 100, length=100)
        assert await rom.boot.out(b"\xaa" * 100) == 0
        assert await rom.boot.take_in(64) == b""
        assert await rom.read(FLASH_BASE, 2 * PAGE) == (b"\xaa" * 100).ljust(PAGE, b"\0") + b"\xff" * PAGE

    on(chip, test)


def test_after_a_read_that_it_refused_rp2040_listens_to_nothing_but_a_reset(on):
    async def test(rom: Rom) -> None:
        assert await rom.read(FLASH_BASE + 4, PAGE) is None
        rom.boot.clear_halt(of_in=True)
        assert await waits(rom.send(EXIT_XIP))
        rom.boot.reset()
        await rom.run(EXIT_XIP)

    on(RP2040, test)


def test_rp2350_halts_both_endpoints_and_listens_when_they_are_cleared(on):
    async def test(rom: Rom) -> None:
        assert await rom.read(FLASH_BASE + 4, PAGE) is None
        assert await rom.send(EXIT_XIP) == STALL
        rom.boot.clear_halt(of_in=True)
        rom.boot.clear_halt(of_in=False)
        await rom.run(EXIT_XIP)

    on(RP2350, test)


@BOTH
def test_who_asks_for_more_than_comes_in_whole_packets_waits_on(on, chip: Chip):
    async def test(rom: Rom) -> None:
        await rom.send(READ, FLASH_BASE, PAGE, length=PAGE)
        assert await waits(rom.boot.take_in(2 * PAGE))
        rom.boot.reset()
        await rom.send(READ, FLASH_BASE, PAGE - 1, length=PAGE - 1)
        assert len(await rom.boot.take_in(2 * PAGE)) == PAGE - 1

    on(chip, test)


def test_beyond_16_mib_rp2040_sends_the_flash_other_commands(on):
    async def test(rom: Rom) -> None:
        await rom.run(EXIT_XIP)
        await rom.run(ERASE, FLASH_BASE + (16 << 20), SECTOR)
        assert await rom.read(FLASH_BASE + (16 << 20), PAGE) == OLD[:PAGE], "reading wraps"
        assert await rom.read(FLASH_BASE + (64 << 20), PAGE) == b"\xff" * PAGE

    on(RP2040, test)


def test_rp2350_lets_nobody_touch_what_lies_beyond_the_flash_that_it_was_told_of(on):
    async def test(rom: Rom) -> None:
        assert await rom.read(FLASH_BASE + (16 << 20), PAGE) is None
        assert rom.boot.command_status()[4] == NOT_PERMITTED

    on(RP2350, test)


def test_garbage_ends_the_transfer_of_rp2040_and_not_of_rp2350(on):
    for chip, restarts in (RP2040, False), (RP2350, True):
        family = FAMILY[chip.name]
        data = uf2(pages_of(bytes(4 * PAGE)), family)
        garbage = uf2_block(0, 4, 0x4000_0000, b"", family)

        async def test(rom: Rom, data=data, garbage=garbage, restarts=restarts) -> None:
            taken = await rom.copy(data[:1024] + garbage + data[1024:])
            assert taken == [False, False, False, False, restarts]

        on(chip, test)


@BOTH
def test_another_file_of_as_many_blocks_is_taken_for_the_rest_of_one_that_was_cut_short(on, chip: Chip):
    family = FAMILY[chip.name]
    first, second = (uf2(pages_of(byte * (4 * PAGE)), family) for byte in (b"\x11", b"\x22"))

    async def test(rom: Rom) -> None:
        await rom.copy(first[: 3 * 512])
        assert await rom.copy(second) == [False, False, False, True], "as after a success"
        assert rom.cells.read(0, 4 * PAGE) == b"\x11" * (3 * PAGE) + b"\x22" * PAGE

    on(chip, test)


@BOTH
def test_exclusive_access_ends_a_transfer(on, chip: Chip):
    data = uf2(pages_of(bytes(4 * PAGE)), FAMILY[chip.name])

    async def test(rom: Rom) -> None:
        await rom.copy(data[: 2 * 512])
        await rom.run(EXCLUSIVE, 1)
        assert await rom.copy(data[2 * 512 : 3 * 512]) == [False]
        await rom.run(EXCLUSIVE, 0)
        assert await rom.copy(data[2 * 512 :]) == [False, False]
        assert await rom.copy(data) == [False, True, False, False], "those that it has had by then are four"

    on(chip, test)
