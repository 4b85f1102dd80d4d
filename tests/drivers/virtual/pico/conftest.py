from __future__ import annotations

import asyncio
import os
import struct
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from drivers.virtual.pico import mounts
from drivers.virtual.pico.board import PicoBoard
from drivers.virtual.pico.chips import CHIPS, FLASH_BASE
from drivers.virtual.pico.station import station
from drivers.virtual.spec import BoardSpec

RP2040, RP2350_ARM_S, ABSOLUTE = 0xE48BFF56, 0xE48BFF59, 0xE48BFF57
FAMILY = {"rp2040": RP2040, "rp2350": RP2350_ARM_S}
PAGE, SECTOR = 256, 4096
ERASED_SECTOR = b"\xff" * SECTOR
LIMIT_S = 20.0

NEEDS_MOUNTS = pytest.mark.skipif(bool(mounts.why_none()), reason=f"no drive can be mounted: {mounts.why_none()}")
DRIVES = pytest.mark.parametrize("drive", ["folder", pytest.param("fuse", marks=NEEDS_MOUNTS)])


def uf2_block(
    number: int,
    count: int,
    address: int,
    data: bytes,
    family: int = RP2040,
    flags: int = 0x2000,
    payload: int = PAGE,
) -> bytes:
    """One block as the UF2 specification has it."""
    head = struct.pack("<8I", 0x0A324655, 0x9E5D5157, flags, address, payload, number, count, family)
    return (head + data).ljust(508, b"\0") + struct.pack("<I", 0x0AB16F30)


def uf2(pages: dict[int, bytes], family: int = RP2040) -> bytes:
    """A file of pages by address, numbered in this order, as gapless or not as they are."""
    return b"".join(
        uf2_block(number, len(pages), address, data, family) for number, (address, data) in enumerate(pages.items())
    )


def pages_of(image: bytes, start: int = FLASH_BASE) -> dict[int, bytes]:
    return {start + at: image[at : at + PAGE].ljust(PAGE, b"\0") for at in range(0, len(image), PAGE)}


def uf2conv(image: Path, out: Path, family: str) -> None:
    """Adafruit's packaging of Microsoft's uf2conv, a process of its own."""
    command = [sys.executable, "-m", "adafruit_uf2.uf2conv", "--convert", "--base", hex(FLASH_BASE), "--family", family]
    subprocess.run([*command, "--output", str(out), str(image)], check=True, capture_output=True, timeout=60)


def cp(source: Path, folder: str) -> subprocess.CompletedProcess[str]:
    """coreutils' cp."""
    return subprocess.run(["cp", str(source), folder], text=True, capture_output=True, timeout=60)


def until(condition: Callable[[], bool], limit_s: float = LIMIT_S) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def has_drive(mount_point: str) -> bool:
    return (Path(mount_point) / "INFO_UF2.TXT").exists()


async def eventually(condition: Callable[[], bool]) -> None:
    """The same for a board in this process."""
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            await asyncio.sleep(0.01)


def on_board(
    state: Path, chip: str, test: Callable[[PicoBoard], Awaitable[None]], contents: bytes | None = None, **more: object
) -> bytes:
    """Run a test with a board in this process; what its flash holds afterwards.

    Its drive is a folder: a mount would let a test that writes to it wait for the event loop that it blocks.
    """

    async def run() -> None:
        factory = state / "factory.bin"
        if contents is not None:
            factory.write_bytes(contents)
        origin = factory if contents is not None else None
        spec = BoardSpec(board_id="b", chip=chip, factory=origin, options={"drive": "folder"}, **more)
        with station(spec, state, 0) as place:
            await place.open()
            await test(place.board)

    asyncio.run(run())
    return (state / "b" / "flash.bin").read_bytes()


async def in_loader(board: PicoBoard) -> None:
    """Bring it there by hand."""
    board.press_bootsel()
    await eventually(lambda: has_drive(str(board.drive.path)))


@pytest.fixture
def image() -> Callable[[int], bytes]:
    return os.urandom


__all__ = ["CHIPS", "FLASH_BASE"]
