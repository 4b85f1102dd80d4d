"""One board: its supply, its resets, and which program runs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

from drivers.virtual import timing
from drivers.virtual.faults import Faults, PowerLost
from drivers.virtual.flash import NorFlash
from drivers.virtual.pico import app, program
from drivers.virtual.pico.cdc import CdcWire, Terminal
from drivers.virtual.pico.chips import CHIPS, Chip
from drivers.virtual.pico.drive import Drive
from drivers.virtual.pico.machine import Machine
from drivers.virtual.pico.picoboot import Picoboot
from drivers.virtual.pico.uf2_loader import Uf2Loader
from drivers.virtual.pico.usb_device import UsbDevice
from drivers.virtual.pico.usbip_server import UsbIpServer
from drivers.virtual.power import Power
from drivers.virtual.spec import Fault, Speed
from drivers.virtual.timing import Pace

_SHORTEST_RESTART_S = 0.05  # the host gets the answer to its command, at any speed
_FLASH, _LOADER, _CODE = "flash", "loader", "code"


class PicoBoard:
    """A board on the bench. Its methods are what a hand or a supply can do to it; none of them waits."""

    def __init__(self, board_id: str, chip: Chip, unique: bytes, flash: Path, drive: Drive, speed: Speed) -> None:
        self.board_id = board_id
        self._unique = unique
        self._own_chip = chip
        self._pace = Pace(speed)
        self._cells = NorFlash(flash)
        self.wire = CdcWire(self._pace, Faults((), board_id))
        self._machine = Machine(chip, self._cells, self.wire, self._pace)
        self.terminal = Terminal(self.wire, self.touch)
        self.drive = drive
        self.usb = UsbIpServer(lambda: self.wire.faults, self._lost_by_usb)
        self._power = Power(self._begin, self._forget)
        self._bootsel = False
        self._restarts: asyncio.Future[str] | None = None
        self._in_app = False

    def set_faults(self, faults: Iterable[Fault]) -> None:
        """From now on the board has these faults and no others; another chip on the board starts by power-on."""
        self.wire.faults = Faults(faults, self.board_id)
        chip = CHIPS[self.wire.faults.chip] if self.wire.faults.chip else self._own_chip
        if chip is not self._machine.chip:
            powered = self._power.is_on
            self.set_power(on=False)
            self._machine = Machine(chip, self._cells, self.wire, self._pace)
            self.set_power(on=powered)

    def set_power(self, *, on: bool) -> None:
        """Connect or cut the supply; flash is kept as far as it was programmed."""
        self._power.switch(on=on)

    def press_bootsel(self) -> None:
        """Hold BOOTSEL while the board is plugged in anew."""
        self.set_power(on=False)
        self._bootsel = True
        self.set_power(on=True)
        self._bootsel = False

    def _begin(self) -> None:
        into = _LOADER if self._bootsel else _FLASH
        self._machine = Machine(self._machine.chip, self._cells, self.wire, self._pace)
        self._power.run(lambda: self._live(into))

    def _forget(self) -> None:
        self._leave_loader()
        self.wire.forget()

    def touch(self) -> None:
        """The port was closed at 1200 baud: an application that runs obeys."""
        if self._in_app and not self.wire.faults.reset_ignored():
            self._restart(_LOADER, 0.0)

    # What `PtyPort` needs of a board: opening a CDC port resets nothing, and no hand is at the board.

    def press_reset(self) -> None:
        """A terminal has opened the pty."""
        self.terminal.pty(is_open=True)

    def hand_sees(self, data: bytes) -> bool:  # noqa: ARG002
        return False

    def set_lines(self, *, dtr: bool | None = None, rts: bool | None = None) -> None:  # noqa: ARG002
        self.terminal.lines(dtr=dtr)

    def close(self) -> None:
        """End the board; its flash file stays."""
        self.set_power(on=False)
        self.usb.close()
        self._cells.close()

    async def _live(self, into: str) -> None:
        """Run programs from one reset to the next, until the supply ends it."""
        while True:
            into = await self._run(into)

    def _lost_by_usb(self, lost: PowerLost) -> None:
        if self._restarts is not None and not self._restarts.done():
            self._restarts.set_exception(lost)

    def _restart(self, into: str, after_s: float) -> None:
        if self._restarts is not None and not self._restarts.done():
            restarts = self._restarts
            asyncio.get_running_loop().call_later(max(after_s, _SHORTEST_RESTART_S), _settle, restarts, into)

    async def _run(self, into: str) -> str:
        self._restarts = asyncio.get_running_loop().create_future()
        self.wire.forget()
        if into == _CODE:
            return await self._restarts  # unknown code in RAM: only the supply ends it
        in_loader = into == _LOADER or not program.is_startable(self._machine.chip, self._machine.read_flash)
        self.wire.faults.started(in_loader=in_loader)
        return await (self._run_loader(self._restarts) if in_loader else self._run_app(self._restarts))

    async def _run_app(self, restarts: asyncio.Future[str]) -> str:
        self._in_app = True
        running = asyncio.get_running_loop().create_task(app.run(self._machine, self.terminal.present))
        try:
            await asyncio.wait((running, restarts), return_when=asyncio.FIRST_COMPLETED)
            if restarts.done():
                return restarts.result()
            self._in_app = False
            await timing.delay(running.result())
            return _FLASH
        finally:
            self._in_app = False
            running.cancel()

    async def _run_loader(self, restarts: asyncio.Future[str]) -> str:
        machine, chip = self._machine, self._machine.chip
        uf2 = Uf2Loader(machine)
        boot = Picoboot(machine, uf2, self._unique, self._restart, self.drive.hide)
        serial = chip.serial(self._unique)
        self.usb.attach(UsbDevice(chip, serial, boot))
        self.drive.show(chip, serial)
        copying = asyncio.get_running_loop().create_task(self._take_files(uf2))
        try:
            await asyncio.wait((copying, restarts), return_when=asyncio.FIRST_COMPLETED)
            if not restarts.done():
                return copying.result()
            return restarts.result()
        finally:
            copying.cancel()
            boot.close()
            self._leave_loader()

    async def _take_files(self, uf2: Uf2Loader) -> str:
        await self.drive.serve(uf2.write)
        await self._pace.charge(self._machine.chip.reboot_s)
        await timing.delay(_SHORTEST_RESTART_S)
        return _CODE if uf2.into_ram else _FLASH

    def _leave_loader(self) -> None:
        self.usb.detach()
        self.drive.hide()


def _settle(restarts: asyncio.Future[str], into: str) -> None:
    if not restarts.done():  # the supply may have gone meanwhile
        restarts.set_result(into)
