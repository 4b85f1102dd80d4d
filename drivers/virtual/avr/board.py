"""One AVR Arduino: its adapter's lines, its RESET, its supply, and the chip that they start."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from drivers.virtual.avr.chip import Chip
from drivers.virtual.avr.memory import Memory
from drivers.virtual.faults import Faults, PowerLost
from drivers.virtual.spec import Fault, Speed
from drivers.virtual.timing import Pace
from drivers.virtual.wire import Wire

MakeMemory = Callable[[str | None], Memory]
"""The memories of the chip of that name; of the board's own for None."""


class Board:
    """A board on the bench. Its methods are what a hand, an adapter or a supply can do to it; none of them waits."""

    def __init__(self, board_id: str, make_memory: MakeMemory, speed: Speed) -> None:
        self.board_id = board_id
        self._make_memory = make_memory
        self._pace = Pace(speed)
        self.wire = self._make_wire(Faults((), board_id))
        self._is_other: str | None = None
        self._memory = make_memory(None)
        self._powered = False
        self._dtr = self._rts = False
        self._life: asyncio.Task[None] | None = None
        self._power_return: asyncio.TimerHandle | None = None

    def _make_wire(self, faults: Faults) -> Wire:
        return Wire(self._pace, faults)

    def _make_chip(self) -> Chip:
        return Chip(self._memory, self.wire, self._pace)

    def set_faults(self, faults: Iterable[Fault]) -> None:
        """From now on the board has these faults and no others; another chip on the board starts by power-on."""
        self.wire.faults = Faults(faults, self.board_id)
        other = self.wire.faults.chip
        if other == self._is_other:
            return
        powered = self._powered
        self.set_power(on=False)
        self._memory.close()
        self._is_other, self._memory = other, self._make_memory(other)
        if powered:
            self.set_power(on=True)

    def set_lines(self, *, dtr: bool | None = None, rts: bool | None = None) -> None:
        """RESET hangs on both lines by a capacitor: only the edge to asserted (low) pulls it."""
        edge = (dtr is True and not self._dtr) or (rts is True and not self._rts)
        self._dtr = self._dtr if dtr is None else dtr
        self._rts = self._rts if rts is None else rts
        if edge:
            self.press_reset()

    def press_reset(self) -> None:
        """Press RESET shortly."""
        if self._powered and not self.wire.faults.reset_ignored():
            self._stop()
            self._start(external=True)

    def hand_sees(self, data: bytes) -> bool:
        """Nothing to do: RESET was pressed when the pty was opened, and there is no other button."""
        del data
        return False

    def set_power(self, *, on: bool) -> None:
        """Connect or cut the supply; flash is kept as far as it was programmed."""
        if self._power_return is not None:
            self._power_return.cancel()
            self._power_return = None
        if on == self._powered:
            return
        self._powered = on
        self._stop()
        if on:
            self._start(external=False)

    def close(self) -> None:
        """End the board; its files stay."""
        self.set_power(on=False)
        self._memory.close()

    def _stop(self) -> None:
        if self._life is not None:
            self._life.cancel()
            self._life = None
        self.wire.forget()

    def _start(self, *, external: bool) -> None:
        self._life = asyncio.get_running_loop().create_task(self._live(self._make_chip(), external=external))

    async def _live(self, chip: Chip, *, external: bool) -> None:
        try:
            await chip.run(external=external)
        except PowerLost as lost:
            self._life = None  # this very task: it ends by itself
            self.set_power(on=False)
            if lost.off_s is not None:
                loop = asyncio.get_running_loop()
                self._power_return = loop.call_later(lost.off_s, lambda: self.set_power(on=True))
