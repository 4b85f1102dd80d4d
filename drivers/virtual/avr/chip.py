"""The chip at work: carries out a boot loader's steps with their time and faults, then runs the application."""

from __future__ import annotations

import asyncio
from collections import deque

from drivers.virtual import timing
from drivers.virtual.avr import application
from drivers.virtual.avr.memory import Memory
from drivers.virtual.avr.optiboot import Optiboot
from drivers.virtual.avr.parts import Loader
from drivers.virtual.avr.steps import (
    ErasePage,
    Exit,
    Pause,
    Program,
    ProgramPage,
    Receive,
    Send,
    SetLockBits,
    Step,
    WriteEeprom,
)
from drivers.virtual.avr.stk500v2 import Stk500v2
from drivers.virtual.timing import Pace
from drivers.virtual.wire import Wire

BAUD = 115200  # of the bench's applications
_SPM_S = 0.0045  # erasing or programming a page; datasheets: 3.7 to 4.5 ms
_EEPROM_S = 0.0034  # a byte, erase and write
_CRASH_S = 0.5  # a crashing application's watchdog, at any speed
_LONGEST_LINE = 128


class Crashed(Exception):
    """The CPU runs what is no code: nothing is heard of it until the next reset."""


class Chip:
    """One chip's CPU and UART. `run` is one life, from a reset to the next one that comes from outside."""

    def __init__(self, memory: Memory, wire: Wire, pace: Pace) -> None:
        self._memory = memory
        self._wire = wire
        self._pace = pace
        self._part = memory.part
        self._inbox: deque[int] = deque()
        self.in_loader = False

    async def run(self, *, external: bool) -> None:
        """After a reset by the pin (`external`), or a power-on. Ends only when it is cancelled. Raises PowerLost."""
        self._inbox.clear()
        starts_loader = external or self._part.loader is Loader.STK500V2
        self._wire.faults.started(in_loader=starts_loader)
        try:
            if starts_loader:
                self._wire.baud = self._part.baud
                await self._load_until_application()
            self._wire.baud = BAUD
            await self._run_application()
        except Crashed:
            await for_ever()

    async def _load_until_application(self) -> None:
        """The boot loader, again where it starts itself: in a blank flash the CPU runs through to the boot section."""
        while True:
            if await self._run_loader() is Exit.HUNG:
                raise Crashed
            self._forget_input()
            if self._memory.has_application:
                return
            if self._part.loader is Loader.OPTIBOOT_4:
                raise Crashed  # it clears MCUSR, and starts itself only after an external reset
            await asyncio.sleep(0)

    def _loader(self) -> Program:
        if not self._memory.has_loader:
            raise Crashed
        read = self._memory.flash.read
        if self._part.loader is Loader.STK500V2:
            return Stk500v2(self._part, read, self._memory.eeprom.read, lambda: self._memory.lock_bits).run()
        return Optiboot(self._part, read).run()

    async def _run_loader(self) -> Exit:
        program = self._loader()
        self.in_loader = True
        answer: int | None = None
        try:
            while True:
                step = program.send(answer)
                answer = await self._carry_out(step)
        except StopIteration as end:
            return Exit(end.value)
        finally:
            self.in_loader = False

    async def _carry_out(self, step: Step) -> int | None:
        match step:
            case Receive(timeout_s):
                return await self._receive(timeout_s)
            case Pause(seconds):
                await timing.delay(seconds)
            case Send(data):
                await self._wire.send(data)
            case ErasePage(address):
                await self._erase(address)
            case ProgramPage(address, data):
                await self._program(address, data)
            case WriteEeprom(address, value):
                await self._pace.charge(_EEPROM_S)
                self._memory.write_eeprom(address, value)
            case SetLockBits(value):
                self._memory.lock_bits &= value
        return None

    async def _receive(self, timeout_s: float | None) -> int | None:
        if not self._inbox:
            try:
                async with asyncio.timeout(timeout_s):
                    self._inbox.extend(await self._wire.receive())
            except TimeoutError:
                if not self._wire.has_input:
                    return None
                # They came in time: while the bench stood still, its time-out fell due too.
                self._inbox.extend(await self._wire.receive())
        return self._inbox.popleft()

    def _forget_input(self) -> None:
        self._inbox.clear()
        self._wire.forget()

    async def _erase(self, address: int) -> None:
        if self._memory.is_locked(address):
            return
        await self._pace.charge(_SPM_S)
        await timing.delay(self._wire.faults.erase_delay_s())
        self._memory.flash.erase_page(address, self._part.page_size)
        # Where the code that does this lies, it is gone before its next instruction. The loader's first page holds what
        # runs at its start only.
        code = self._part.flash_size - self._part.loader_size
        if self._memory.page_of(address) > code:
            raise Crashed

    async def _program(self, address: int, data: bytes) -> None:
        if self._memory.is_locked(address):
            return
        done, lost = self._wire.faults.programmable(len(data))
        self._memory.flash.program(self._memory.page_of(address), data[:done])
        if lost is not None:
            raise lost
        await self._pace.charge(_SPM_S)
        if not self._memory.has_loader:
            raise Crashed

    async def _run_application(self) -> None:
        flash = self._memory.flash.read(0, self._part.flash_size)
        found = application.find(flash)
        if found is None:
            raise Crashed
        while any(self._wire.faults.panics(word) for word in found.words):
            await timing.delay(_CRASH_S)  # before it prints; its watchdog starts it anew, past the boot loader
        await self._wire.send(found.banner)
        await (self._console(found) if found.answers else for_ever())

    async def _console(self, app: application.Application) -> None:
        """Answers "version"; anything else is given back with a question mark."""
        line = bytearray()
        while True:
            for byte in await self._wire.receive():
                if byte not in b"\r\n":
                    line = (line + bytes([byte]))[-_LONGEST_LINE:]
                    continue
                text, line = bytes(line).decode("ascii", "replace").strip(), bytearray()
                if text:
                    answer = app.version if text == "version" else f"{text}?"
                    await self._wire.send(f"{answer}\r\n".encode("ascii", "replace"))


async def for_ever() -> None:
    never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    await never
