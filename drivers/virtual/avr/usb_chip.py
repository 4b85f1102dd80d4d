"""An ATmega with USB of its own at work: Caterina, and applications that hear a touch while they run."""

from __future__ import annotations

import asyncio

from drivers.virtual import timing
from drivers.virtual.avr import application
from drivers.virtual.avr.caterina import Caterina
from drivers.virtual.avr.chip import Chip, Crashed, for_ever
from drivers.virtual.avr.memory import Memory
from drivers.virtual.avr.steps import Countdown, DropPacket, Program, ReceiveInTime, Step
from drivers.virtual.timing import Pace
from drivers.virtual.wire import Wire

_ENUMERATES_S = 0.1  # at least: a host debounces a new device for so long (USB 2.0, 7.1.7.3)
_SERIAL_S = 0.01  # Serial_::operator bool waits so long, since a host that opens a port throws away what was there
PACKET = 64  # bytes of a bulk endpoint (CDC_TXRX_EPSIZE)


class UsbChip(Chip):
    """One chip's CPU and USB. `host_listens` is set while a host has the port open (DTR or RTS asserted)."""

    def __init__(self, memory: Memory, wire: Wire, pace: Pace, host_listens: asyncio.Event) -> None:
        super().__init__(memory, wire, pace)
        self._host_listens = host_listens
        self._deadline = 0.0
        self._rest = 0  # bytes of the inbox that belong to the packet that is being read
        self.hears_touch = False
        """Whether an application runs whose USB answers."""

    async def run(self, *, external: bool) -> None:
        """After a reset by the pin or a touch (`external`), or a power-on, which goes past the boot loader."""
        self._inbox.clear()
        starts_loader = external or not self._memory.has_application
        self._wire.faults.started(in_loader=starts_loader)
        try:
            if starts_loader:
                await self._run_loader()
                self._forget_input()
            await self._run_application()
        except Crashed:
            await for_ever()

    def _loader(self) -> Program:
        if not self._memory.has_loader:
            raise Crashed
        memory = self._memory
        return Caterina(self._part, memory.flash.read, memory.eeprom.read, lambda: memory.lock_bits).run()

    async def _carry_out(self, step: Step) -> int | None:
        match step:
            case Countdown(seconds):
                self._deadline = asyncio.get_running_loop().time() + seconds
                return None
            case ReceiveInTime():
                left_s = self._deadline - asyncio.get_running_loop().time()
                return await self._receive(left_s) if left_s > 0 else None
            case DropPacket():
                for _ in range(self._rest):
                    self._inbox.popleft()
                self._rest = 0
                return None
        return await super()._carry_out(step)

    async def _receive(self, timeout_s: float | None) -> int | None:
        byte = await super()._receive(timeout_s)
        if byte is not None:
            self._rest = self._rest - 1 if self._rest else min(PACKET, len(self._inbox) + 1) - 1
        return byte

    async def _run_application(self) -> None:
        """It waits for its port to be opened, as sketches with `while (!Serial)` do: what it prints before is lost."""
        flash = self._memory.flash.read(0, self._part.flash_size)
        found = application.find(flash)
        if found is None and not application.is_foreign(flash):
            raise Crashed
        self.hears_touch = True
        if found is None or any(self._wire.faults.panics(word) for word in found.words):
            await for_ever()  # one that crashes hangs, with its core's USB interrupt alive
            return
        await timing.delay(_ENUMERATES_S)  # by then, who had the boot loader's port open has been told that it is gone
        while not self._host_listens.is_set():
            await self._host_listens.wait()
            await timing.delay(_SERIAL_S)
        await self._wire.send(found.banner)
        await (self._console(found) if found.answers else for_ever())
