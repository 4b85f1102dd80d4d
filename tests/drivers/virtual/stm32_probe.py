"""A board with an STM32 without a bench around it, and a hand on its UART: for tests of the boot loader's own protocol.

The codec here is the tests' own, written from AN3155: it shares nothing with the board's.
"""

from __future__ import annotations

import asyncio
import gc
import struct
from collections.abc import Iterable
from functools import reduce
from operator import xor
from pathlib import Path
from typing import Any

from drivers.virtual import flash
from drivers.virtual.spec import BoardSpec, Fault
from drivers.virtual.stm32.board import Board
from drivers.virtual.stm32.chips import CHIPS
from drivers.virtual.stm32.firmware import factory_image
from drivers.virtual.stm32.wiring import Wiring

ACK, NACK = b"\x79", b"\x1f"
BASE = 0x08000000
UID = bytes(range(0x41, 0x4D))
PATIENCE_S = 30.0


def with_xor(data: bytes) -> bytes:
    return data + bytes([reduce(xor, data, 0)])


def address(at: int) -> bytes:
    return with_xor(struct.pack(">I", at))


def block(data: bytes) -> bytes:
    return with_xor(bytes([len(data) - 1]) + data)


def op(code: int) -> bytes:
    return bytes([code, code ^ 0xFF])


def page_list(*pages: int) -> bytes:
    """Of the extended erase."""
    return with_xor(struct.pack(f">{len(pages) + 1}H", len(pages) - 1, *pages))


class Probe:
    """A board on a table. `board` is driven by hand; `heard` is what its UART said."""

    parity: str | None = "E"

    def __init__(self, folder: Path, chip: str, faults: Iterable[Fault], contents: bytes) -> None:
        self.baud = 115200
        self.heard = bytearray()
        self._news = asyncio.Event()
        self.chip = CHIPS[chip]
        self.flash_path = folder / "flash.bin"
        flash.create(self.flash_path, self.chip.flash_sizes[-1], contents)
        spec = BoardSpec(board_id="probe", chip=chip)
        self.board = Board(spec, self.chip, UID, self.flash_path, Wiring())
        self.board.set_faults(tuple(faults))
        self.board.wire.listeners.append(self)

    def deliver(self, data: bytes) -> None:
        self.heard += data
        self._news.set()

    def send(self, data: bytes) -> None:
        self.board.wire.from_host(data, self.baud, self.parity)

    async def take(self, size: int) -> bytes:
        """The next bytes that the board says; they are forgotten then."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.heard) < size:
                self._news.clear()
                await self._news.wait()
        said = bytes(self.heard[:size])
        del self.heard[:size]
        return said

    async def until(self, wanted: bytes) -> bytes:
        async with asyncio.timeout(PATIENCE_S):
            while wanted not in self.heard:
                self._news.clear()
                await self._news.wait()
        return await self.take(self.heard.index(wanted) + len(wanted))

    async def silent(self) -> bool:
        """Whether the board has nothing to say to what it was sent."""
        await self.settle()
        return not self.heard

    async def answer(self, data: bytes) -> bytes:
        """The one byte that the board answers."""
        self.send(data)
        return await self.take(1)

    async def ask(self, *frames: bytes) -> bytes:
        """The answers to frames that are sent one after the other, up to the first that is no ACK."""
        answers = b""
        for frame in frames:
            answers += await self.answer(frame)
            if answers[-1:] != ACK:
                break
        return answers

    async def reset(self, *, boot0: bool) -> None:
        self.board.set_power(on=True)
        self.board.set_pins(in_reset=True, boot0=boot0)
        self.heard.clear()  # while the board can say nothing: on a busy machine it has started before `settle` returns
        self.board.set_pins(in_reset=False, boot0=boot0)
        await self.settle()

    async def enter_loader(self) -> bytes:
        await self.reset(boot0=True)
        return await self.answer(b"\x7f")

    async def read(self, at: int, size: int) -> bytes:
        assert await self.ask(op(0x11), address(at), op(size - 1)) == ACK * 3
        return await self.take(size)

    async def write(self, at: int, data: bytes) -> bytes:
        return await self.ask(op(0x31), address(at), block(data))

    async def erase(self, *pages: int) -> bytes:
        if self.chip.extended_erase:
            return await self.ask(op(0x44), page_list(*pages))
        return await self.ask(op(0x43), with_xor(bytes([len(pages) - 1, *pages])))

    async def settle(self) -> None:
        """Let the board's program come to where it waits for bytes."""
        for _ in range(20):
            await asyncio.sleep(0)

    @property
    def flash(self) -> bytes:
        return self.flash_path.read_bytes()


def on_board(
    folder: Path, chip: str, test: Any, *, faults: Iterable[Fault] = (), contents: bytes | None = None
) -> None:
    """Run `test(probe)` in an event loop; whatever went wrong inside of the board fails the test too."""
    asyncio.run(_with_probe(folder, chip, test, faults, factory_image() if contents is None else contents))


async def _with_probe(folder: Path, chip: str, test: Any, faults: Iterable[Fault], contents: bytes) -> None:
    wrong: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: wrong.append(context))
    probe = Probe(folder, chip, faults, contents)
    try:
        await test(probe)
    finally:
        probe.board.close()
        await probe.settle()
    gc.collect()
    assert not wrong
