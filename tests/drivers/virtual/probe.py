"""A board without a bench around it, and a hand on its UART: what a test of the chip's own protocol needs.

The codec here is the tests' own, written from the documentation: it shares nothing with the board's.
"""

from __future__ import annotations

import asyncio
import gc
import struct
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import Any

from drivers.virtual import flash
from drivers.virtual.esp.board import Board
from drivers.virtual.esp.chips import CHIPS
from drivers.virtual.spec import Fault, Speed

MAC = bytes.fromhex("240ac4010203")
SYNC = bytes.fromhex("07071220") + b"\x55" * 32
PATIENCE_S = 30.0
RAM = {"esp32": 0x3FFB0000, "esp32s3": 0x3FC90000, "esp32c3": 0x3FC90000, "esp8266": 0x3FFE8000}


def xor(data: bytes) -> int:
    state = 0xEF
    for byte in data:
        state ^= byte
    return state


def escaped(payload: bytes) -> bytes:
    return b"\xc0" + payload.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc") + b"\xc0"


def request(op: int, data: bytes = b"", check: int = 0, direction: int = 0, size: int | None = None) -> bytes:
    length = len(data) if size is None else size
    return escaped(struct.pack("<BBHI", direction, op, length, check) + data)


def block(data: bytes, sequence: int) -> bytes:
    return struct.pack("<4I", len(data), sequence, 0, 0) + data


class Answer:
    """An answer of the loader: `op`, `value`, `data` without its status, `status` (two bytes)."""

    def __init__(self, frame: bytes, status_bytes: int) -> None:
        self.direction, self.op, self.size, self.value = struct.unpack_from("<BBHI", frame)
        body = frame[8:]
        self.data, self.status = body[:-status_bytes], body[-status_bytes:][:2]
        self.whole = len(body) == self.size

    @property
    def ok(self) -> bool:
        return self.status == b"\0\0"


class Probe:
    """A board on a table. `board` is driven by hand; `heard` is what its UART said."""

    def __init__(self, folder: Path, chip: str, faults: Iterable[Fault], contents: bytes, speed: Speed) -> None:
        self.baud = 115200
        self.chip = CHIPS[chip]
        self.heard = bytearray()
        self._news = asyncio.Event()
        self.flash_path = folder / "flash.bin"
        flash.create(self.flash_path, 4 << 20, contents)
        self.board = Board("probe", self.chip, MAC, self.flash_path, speed, {})
        self.board.set_faults(tuple(faults))
        self.board.wire.listeners.append(self)
        self.status_bytes = self.chip.status_bytes
        self.ram = RAM[chip]

    def deliver(self, data: bytes) -> None:
        self.heard += data
        self._news.set()

    def send(self, data: bytes) -> None:
        self.board.wire.from_host(data, self.baud)

    async def until(self, wanted: bytes) -> bytes:
        """Wait until the board has said something; everything that it said up to then, which is then forgotten."""
        async with asyncio.timeout(PATIENCE_S):
            while wanted not in self.heard:
                self._news.clear()
                await self._news.wait()
        end = self.heard.index(wanted) + len(wanted)
        said = bytes(self.heard[:end])
        del self.heard[:end]
        return said

    async def frame(self) -> bytes:
        await self.until(b"\xc0")
        body = (await self.until(b"\xc0"))[:-1]
        return body.replace(b"\xdb\xdc", b"\xc0").replace(b"\xdb\xdd", b"\xdb")

    async def answer(self) -> Answer:
        return Answer(await self.frame(), self.status_bytes)

    async def ask(self, op: int, data: bytes = b"", check: int = 0) -> Answer:
        self.send(request(op, data, check))
        return await self.answer()

    async def enter_loader(self) -> Answer:
        self.board.set_power(on=True)
        self.board.press(boot=True)
        self.status_bytes = self.chip.status_bytes
        await self.settle()
        self.heard.clear()
        answer = await self.ask(0x08, SYNC)
        for _ in range(7):
            await self.answer()
        return answer

    async def enter_stub(self) -> None:
        """Load something that greets as a flasher stub does, and run it."""
        await self.enter_loader()
        code = b"OHAI" + bytes(60)
        if self.chip.name == "esp32c3":  # lui a5, 0x49415; addi a5, a5, -1969
            code = bytes.fromhex("b75741499387f784") + bytes(56)
        assert (await self.ask(0x05, struct.pack("<4I", len(code), 1, 0x1800, self.ram))).ok
        assert (await self.ask(0x07, block(code, 0), xor(code))).ok
        assert (await self.ask(0x06, struct.pack("<2I", 0, self.ram))).ok
        assert await self.frame() == b"OHAI"
        self.status_bytes = 2

    async def settle(self) -> None:
        """Let the board's program come to where it waits for bytes."""
        for _ in range(20):
            await asyncio.sleep(0)

    @property
    def flash(self) -> bytes:
        return self.flash_path.read_bytes()


def on_board(
    folder: Path,
    chip: str,
    test: Any,
    *,
    faults: Iterable[Fault] = (),
    contents: bytes = b"",
    speed: Speed = Speed.FAST,
) -> None:
    """Run `test(probe)` in an event loop; whatever went wrong inside of the board fails the test too."""
    asyncio.run(_with_probe(folder, chip, test, faults, contents, speed))


async def _with_probe(
    folder: Path, chip: str, test: Any, faults: Iterable[Fault], contents: bytes, speed: Speed
) -> None:
    wrong: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: wrong.append(context))
    probe = Probe(folder, chip, faults, contents, speed)
    try:
        job: Coroutine[Any, Any, None] = test(probe)
        await job
    finally:
        probe.board.close()
        await probe.settle()
    gc.collect()
    assert not wrong
