"""One board: its NRST and BOOT0, its power, and which program runs on it.

power on, NRST high → BOOT0 high → boot loader ─ GO ─→ program
                    └ BOOT0 low ─→ vector table in flash → application, or a CPU that locks up
                                └→ a G0 whose flash was empty at power-on → boot loader
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from drivers.virtual.faults import Faults
from drivers.virtual.power import Power
from drivers.virtual.spec import BoardSpec, Fault
from drivers.virtual.stm32 import app
from drivers.virtual.stm32.boot_rom import BootRom
from drivers.virtual.stm32.cells import Cells
from drivers.virtual.stm32.chips import CHIPS, FLASH_BASE, Chip
from drivers.virtual.stm32.machine import Machine
from drivers.virtual.stm32.memory import Memory
from drivers.virtual.stm32.option_bytes import OptionBytes
from drivers.virtual.stm32.program import Exit, Jump
from drivers.virtual.stm32.wiring import Lines, Wiring
from drivers.virtual.timing import Pace
from drivers.virtual.wire import Wire

_BOOT_S = 0.05  # AN2606, "Bootloader timing": some to some ten milliseconds until the USART is listened to
_KNOCK = frozenset(b"\x7f")


class Board:
    """A board on the bench. Its methods are what a hand, an adapter or a supply can do to it; none of them waits."""

    def __init__(self, spec: BoardSpec, chip: Chip, uid: bytes, flash: Path, wiring: Wiring) -> None:
        self._spec = spec
        self._own_chip = chip
        self._uid = uid
        self._flash_path = flash
        self._pace = Pace(spec.speed)
        self.wire = Wire(self._pace, Faults((), spec.board_id))
        self._lines = Lines(wiring, lambda in_reset, boot0: self.set_pins(in_reset=in_reset, boot0=boot0))
        self._machine = self._build(chip, keep=spec.keep)
        self._power = Power(self._begin, self.wire.forget)
        self._in_reset = False
        self._boot0 = False
        self._in_loader = False
        self._is_empty = False

    def _build(self, chip: Chip, *, keep: bool) -> Machine:
        options = OptionBytes(chip, self._flash_path.with_name(f"options-{chip.name}.bin"), keep=keep)
        cells = Cells(chip, self._flash_path, options)
        return Machine(chip, self._uid, Memory(chip, self._uid, cells, options), self.wire, self._pace)

    @property
    def in_loader(self) -> bool:
        """Whether the last reset led into the boot loader."""
        return self._in_loader

    def set_faults(self, faults: Iterable[Fault]) -> None:
        """From now on the board has these faults and no others; another chip on the board starts by power-on."""
        self.wire.faults = Faults(faults, self._spec.board_id)
        chip = CHIPS[self.wire.faults.chip] if self.wire.faults.chip else self._own_chip
        if chip is not self._machine.chip:
            powered = self._power.is_on
            self.set_power(on=False)
            self._machine.memory.cells.close()
            self._machine = self._build(chip, keep=True)
            self.set_power(on=powered)

    def set_power(self, *, on: bool) -> None:
        """Connect or cut the supply. RAM is lost, flash is kept as far as it was programmed."""
        self._power.switch(on=on)

    def _begin(self) -> None:
        self._look_at_flash()
        if not self._in_reset:
            memory = self._machine.memory
            self._machine.memory = Memory(self._machine.chip, self._uid, memory.cells, memory.options)
            self._start()

    def set_pins(self, *, in_reset: bool, boot0: bool) -> None:
        """Drive NRST and BOOT0. Leaving reset samples BOOT0 (AN2606, "Boot mode selection")."""
        self._boot0 = boot0
        if in_reset == self._in_reset:
            return
        if not in_reset:
            self._in_reset = False
            if self._power.is_on and self._power.is_idle:
                self._start()
        elif not self.wire.faults.reset_ignored():
            self._in_reset = True
            self._power.stop()

    def set_lines(self, *, dtr: bool | None = None, rts: bool | None = None) -> None:
        """DTR and RTS, as they are wired."""
        self._lines.set(dtr=dtr, rts=rts)

    def press_reset(self) -> None:
        """Press RESET shortly, with BOOT0's jumper at 0."""
        self._press(boot0=False)

    def _press(self, *, boot0: bool) -> None:
        self.set_pins(in_reset=True, boot0=boot0)
        self.set_pins(in_reset=False, boot0=boot0)
        self._boot0 = False

    def hand_sees(self, data: bytes) -> bool:
        """A 0x7F that finds the application sets BOOT0 and presses RESET; so quickly that the boot loader gets the 0x7F
        too, since tools want theirs to be the first: somebody who starts one has pressed the buttons before.
        """
        if not self.in_loader and data and set(data) <= _KNOCK:
            self._press(boot0=True)
        return False

    def close(self) -> None:
        """End the board; its flash file stays."""
        self.set_power(on=False)
        self._machine.memory.cells.close()

    def _look_at_flash(self) -> None:
        """What some chips do when they load their option bytes, and never between."""
        self._is_empty = self._machine.chip.checks_empty and self._machine.memory.cells.read(0, 4) == b"\xff" * 4

    def _sample_boot0(self) -> None:
        self._in_loader = self._boot0 or self._is_empty

    def _start(self) -> None:
        self._sample_boot0()
        self._power.run(self._live)

    async def _live(self) -> None:
        """Run programs from one reset to the next, until the supply or NRST ends it."""
        while True:
            ended = await self._run_from_reset()
            while isinstance(ended, Jump):
                self._in_loader = False
                ended = await self._run_program(ended.vectors)
            if ended.loads_options:
                self._look_at_flash()
            self.wire.forget()
            self._sample_boot0()

    async def _run_from_reset(self) -> Exit:
        self.wire.autobaud = False
        self.wire.faults.started(in_loader=self._in_loader)
        if not self._in_loader:
            return await self._run_program(FLASH_BASE)
        self.wire.parity = "E"
        await self._pace.charge(_BOOT_S)
        return await BootRom(self._machine).run()

    async def _run_program(self, vectors: int) -> Exit:
        self.wire.parity = "N"
        return await app.run(self._machine, vectors)
