"""Any bytes at all never crash a board: whatever came before, it does afterwards what it should."""

from __future__ import annotations

import asyncio
import struct
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.virtual.faults import Faults
from drivers.virtual.flash import NorFlash, create
from drivers.virtual.pico import firmware, program
from drivers.virtual.pico.cdc import CdcWire
from drivers.virtual.pico.chips import CHIPS, FLASH_BASE, RP2040, RP2350
from drivers.virtual.pico.machine import Machine
from drivers.virtual.pico.picoboot import Picoboot
from drivers.virtual.pico.uf2_loader import Uf2Loader
from drivers.virtual.spec import Speed
from drivers.virtual.timing import Pace
from tests.drivers.virtual.pico.conftest import (
    FAMILY,
    PAGE,
    eventually,
    has_drive,
    in_loader,
    on_board,
    uf2,
    uf2_block,
)

SLOW = settings(max_examples=30, deadline=None)
CHIP = st.sampled_from([RP2040, RP2350])
WORD = st.one_of(
    st.integers(0, 2**32 - 1),
    st.integers(0, 8),
    st.sampled_from([FLASH_BASE, 0x20000000, 0x20042000, 0x1FFFFF00, 0x10FFFF00, 0x12000000, 256, 4096, 0x43]),
)


def with_machine(chip, test) -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "flash.bin"
            create(path, 1 << 18, b"\x55" * 8192)
            cells = NorFlash(path)
            pace = Pace(Speed.FAST)
            try:
                await test(Machine(chip, cells, CdcWire(pace, Faults((), "x")), pace))
            finally:
                cells.close()

    asyncio.run(run())


@st.composite
def sectors(draw: st.DrawFn) -> bytes:
    """Something like a UF2 block."""
    number, count, address = draw(WORD), draw(WORD), draw(WORD)
    family = draw(st.sampled_from([0xE48BFF56, 0xE48BFF57, 0xE48BFF59, 0]))
    return uf2_block(
        number, count, address, draw(st.binary(max_size=20)), family, draw(st.sampled_from([0x2000, WORDS]))
    )


WORDS = 0x2001


@SLOW
@given(chip=CHIP, stream=st.lists(st.one_of(sectors(), st.binary(min_size=512, max_size=512)), max_size=12))
def test_the_drive_takes_any_sectors(chip, stream: list[bytes]):
    async def test(machine: Machine) -> None:
        loader = Uf2Loader(machine)
        for sector in stream:
            await loader.write(sector)
        good = uf2({FLASH_BASE + PAGE * page: bytes([page]) * PAGE for page in range(37)}, FAMILY[chip.name])
        results = [await loader.write(good[at : at + 512]) for at in range(0, len(good), 512)]
        assert results == [False] * 36 + [True]
        assert machine.read_flash(FLASH_BASE, PAGE * 2) == bytes(PAGE) + b"\x01" * PAGE

    with_machine(chip, test)


@st.composite
def packets(draw: st.DrawFn) -> bytes:
    """Something like a command: known or not, of true or untrue lengths."""
    arguments = b"".join(struct.pack("<I", draw(WORD)) for _ in range(draw(st.integers(0, 4))))
    size = draw(st.one_of(st.just(len(arguments)), st.integers(0, 255)))
    command = draw(st.one_of(st.integers(0, 0x10), st.integers(0x80, 0x90), st.integers(0, 255)))
    length = draw(st.one_of(st.integers(0, 700), WORD))
    return struct.pack("<IIBBHI16s", 0x431FD10B, draw(WORD), command, size, 0, length, arguments)


@SLOW
@given(
    chip=CHIP,
    stream=st.lists(st.one_of(packets(), st.binary(max_size=300), st.integers(0, 600)), max_size=15),
)
def test_picoboot_takes_any_packets(chip, stream: list[bytes | int]):
    """Numbers are reads of so many bytes. What waits for ever on a real chip waits here."""

    async def test(machine: Machine) -> None:
        boot = Picoboot(machine, Uf2Loader(machine), bytes(8), lambda _into, _after_s: None, lambda: None)
        for step in stream:
            try:
                async with asyncio.timeout(0.01):
                    await (boot.take_in(step) if isinstance(step, int) else boot.out(step))
            except TimeoutError:
                pass
        assert len(boot.command_status()) == 16
        fresh = Picoboot(machine, Uf2Loader(machine), bytes(8), lambda _into, _after_s: None, lambda: None)
        command = struct.pack("<IIBBHIII8x", 0x431FD10B, 9, 0x84, 8, 0, 256, FLASH_BASE, 256)
        for it in boot, fresh:
            it.reset()
            it.clear_halt(of_in=True)
            it.clear_halt(of_in=False)
        assert await fresh.out(struct.pack("<IIBBHI16x", 0x431FD10B, 8, 6, 0, 0, 0)) == 0  # EXIT_XIP
        assert await fresh.take_in(64) == b""
        assert await fresh.out(command) == 0
        assert await fresh.take_in(256) == machine.read_flash(FLASH_BASE, 256)

    with_machine(chip, test)


@SLOW
@given(chip=CHIP, junk=st.lists(st.tuples(st.integers(0, 0x1000), st.binary(min_size=1, max_size=40)), max_size=6))
def test_any_flash_is_looked_at_without_crashing(chip, junk: list[tuple[int, bytes]]):
    contents = bytearray(firmware.build_app(chip, "x", "1", code_size=0x800))
    for at, data in junk:
        contents[at : at + len(data)] = data

    async def test(machine: Machine) -> None:
        for at in range(0, len(contents), PAGE):
            machine.cells.erase(at, 1) if at % 4096 == 0 else None
            machine.cells.program(at, bytes(contents[at : at + PAGE]))
        assert program.is_startable(chip, machine.read_flash) in (True, False)
        found = program.in_flash(machine.read_flash)
        assert found is None or isinstance(found.version, str)

    with_machine(chip, test)


@settings(max_examples=12, deadline=None)
@given(pieces=st.lists(st.binary(max_size=400), max_size=4))
def test_a_usb_ip_server_takes_any_bytes(pieces: list[bytes]):
    imported = struct.pack(">HHI32s", 0x0111, 0x8003, 0, b"1-1")

    async def test(board) -> None:
        await in_loader(board)
        host, port = board.usb._server.sockets[0].getsockname()
        for before in b"", imported:
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(before + b"".join(pieces))
            writer.write_eof()
            await reader.read()
            writer.close()
        await eventually(lambda: not board.usb.is_in_use)
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(struct.pack(">HHI", 0x0111, 0x8005, 0))
        assert (await reader.readexactly(12))[-1] == 1, "it still lists its device"
        writer.close()

    with tempfile.TemporaryDirectory() as folder:
        on_board(Path(folder), "pico", test)


@settings(max_examples=10, deadline=None)
@given(data=st.binary(max_size=2000), name=st.sampled_from(["x.uf2", "INFO_UF2.TXT.tmp", ".hidden"]))
def test_any_file_leaves_the_drive_where_it_is(data: bytes, name: str):
    async def test(board) -> None:
        await in_loader(board)
        (board.drive.path / name).write_bytes(data)
        (board.drive.path / "folder").mkdir()
        (board.drive.path / "folder" / "x.uf2").write_bytes(data)
        (board.drive.path / "link.uf2").symlink_to("/dev/zero")
        await asyncio.sleep(0.06)
        assert has_drive(str(board.drive.path))
        board.set_power(on=False)
        assert list(board.drive.path.iterdir()) == []

    with tempfile.TemporaryDirectory() as folder:
        on_board(Path(folder), "pico", test)


def test_both_chips_are_meant():
    assert {chip.name for chip in CHIPS.values()} == {"rp2040", "rp2350"}
