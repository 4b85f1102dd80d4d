"""One Espressif board: its reset and strapping pins, its power, and which program runs on it.

power on, EN high → ROM ─ IO0 low ──→ loader → stub → …
                        └ IO0 high ─→ boot from flash → app, or an error and the watchdog
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from drivers.virtual import timing
from drivers.virtual.esp import boot, slip
from drivers.virtual.esp.autoreset import AutoReset
from drivers.virtual.esp.chips import CHIPS, Chip, Reason
from drivers.virtual.esp.machine import Machine
from drivers.virtual.esp.memory import Crash
from drivers.virtual.esp.packets import Op, parse
from drivers.virtual.esp.program import Exit, Jump, Reset, RunFlash
from drivers.virtual.esp.rom import RomLoader
from drivers.virtual.esp.stub import Stub, is_stub
from drivers.virtual.faults import Faults
from drivers.virtual.flash import NorFlash
from drivers.virtual.power import Power
from drivers.virtual.spec import Fault, Speed
from drivers.virtual.timing import Pace
from drivers.virtual.wire import Wire


class Board:
    """A board on the bench. Its methods are what a hand, an adapter or a supply can do to it; none of them waits."""

    def __init__(
        self, board_id: str, chip: Chip, mac: bytes, flash: Path, speed: Speed, burned: Mapping[int, int]
    ) -> None:
        self.board_id = board_id
        self._own_chip = chip
        self._mac = mac
        self._burned = burned
        self._pace = Pace(speed)
        self._cells = NorFlash(flash)
        self.wire = Wire(self._pace, Faults((), board_id))
        self._machine = self._new_machine(chip)
        self._power = Power(self._begin, self.wire.forget)
        self._enabled = True
        self._io0_low = False
        self._download_strapped = False
        self._auto_reset = AutoReset(lambda enabled, io0_low: self.set_pins(enabled=enabled, io0_low=io0_low))
        self._hand = slip.Decoder()

    @property
    def in_loader(self) -> bool:
        """Whether the strapping pins chose the loader at the last reset."""
        return self._download_strapped

    def set_faults(self, faults: Iterable[Fault]) -> None:
        """From now on the board has these faults and no others; another chip on the board starts by power-on."""
        self.wire.faults = Faults(faults, self.board_id)
        chip = CHIPS[self.wire.faults.chip] if self.wire.faults.chip else self._own_chip
        if chip is not self._machine.chip:
            self._rebuild(chip)

    def _rebuild(self, chip: Chip) -> None:
        powered = self._power.is_on
        self.set_power(on=False)
        self._machine = self._new_machine(chip)
        self.set_power(on=powered)

    def _new_machine(self, chip: Chip) -> Machine:
        return Machine(chip, self._mac, self._cells, self.wire, self._pace, self._burned)

    def set_power(self, *, on: bool) -> None:
        """Connect or cut the supply. RAM is lost, flash is kept as far as it was programmed."""
        self._power.switch(on=on)

    def _begin(self) -> None:
        if self._enabled:
            self._machine = self._new_machine(self._machine.chip)
            self._start(Reason.POWER_ON)

    def set_pins(self, *, enabled: bool, io0_low: bool) -> None:
        """Drive EN and IO0. Leaving reset samples IO0, as the chip's strapping does."""
        self._io0_low = io0_low
        if enabled == self._enabled:
            return
        if enabled:
            self._enabled = True
            if self._power.is_on and self._power.is_idle:
                self._start(Reason.EXTERNAL)
        elif not self.wire.faults.reset_ignored():
            self._enabled = False
            self._power.stop()

    def press(self, *, boot: bool) -> None:
        """Press RESET shortly, with BOOT held down or not."""
        self.set_pins(enabled=False, io0_low=boot)
        self.set_pins(enabled=True, io0_low=boot)
        self._io0_low = False

    def set_lines(self, *, dtr: bool | None = None, rts: bool | None = None) -> None:
        """DTR and RTS, through the usual two-transistor circuit."""
        self._auto_reset.set(dtr=dtr, rts=rts)

    def press_reset(self) -> None:
        """Press RESET shortly."""
        self._hand = slip.Decoder()
        self.press(boot=False)

    def hand_sees(self, data: bytes) -> bool:
        """A SYNC that finds the chip outside of its loader presses BOOT and RESET."""
        requests = [parse(frame) for frame in self._hand.feed(data)]
        if self.in_loader or not any(request is not None and request.op == Op.SYNC for request in requests):
            return False
        self.press(boot=True)
        return True

    def close(self) -> None:
        """End the board; its flash file stays."""
        self.set_power(on=False)
        self._cells.close()

    def _start(self, reason: Reason) -> None:
        self._download_strapped = self._io0_low
        self._power.run(lambda: self._live(reason))

    async def _live(self, reason: Reason) -> None:
        """Run programs from one reset to the next, until the supply or EN ends it."""
        while True:
            ended = await self._run_from_reset(reason)
            await timing.delay(ended.after_s)
            reason = ended.reason

    async def _run_from_reset(self, reason: Reason) -> Reset:
        machine = self._machine
        machine.spi.attached = False
        self.wire.autobaud = False
        self.wire.faults.started(in_loader=self._download_strapped)
        try:
            if not self._download_strapped:
                return await boot.run(machine, reason)
            return await self._run_loader(reason)
        except Crash as crash:
            return await boot.report_crash(machine, crash)

    async def _run_loader(self, reason: Reason) -> Reset:
        machine = self._machine
        machine.set_baud(machine.chip.boot_baud)
        await machine.wire.send(boot.loader_log(machine.chip, reason))
        await self._pace.charge(timing.RESET_TO_SYNC_S)
        self.wire.forget()  # what came before the loader listens is lost
        rom = RomLoader(machine)
        ended: Exit = await rom.run()
        while isinstance(ended, Jump):
            ended = await self._jump(rom.loaded, ended.entry)
        if isinstance(ended, RunFlash):
            return await boot.run_without_reset(machine)
        return ended

    async def _jump(self, loaded: list[tuple[int, int]], entry: int) -> Exit:
        """Run what was loaded: a flasher stub is known, anything else is unknown code, and silent."""
        memory = self._machine.memory
        parts = [memory.fetch(start, end - start) for start, end in loaded]
        if any(start <= entry < end for start, end in loaded) and is_stub(parts):
            return await Stub(self._machine).run()
        return await boot.unknown_code()
