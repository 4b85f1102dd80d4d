"""One AVR Arduino: its adapter's lines, its RESET, its supply, and the chip that they start."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from drivers.virtual.avr.chip import Chip
from drivers.virtual.avr.memory import Memory
from drivers.virtual.faults import Faults
from drivers.virtual.power import Power
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
        self._power = Power(lambda: self._start(external=False), self._forget)
        self._dtr = self._rts = False

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
        powered = self._power.is_on
        self.set_power(on=False)
        self._memory.close()
        self._is_other, self._memory = other, self._make_memory(other)
        self.set_power(on=powered)

    def set_lines(self, *, dtr: bool | None = None, rts: bool | None = None) -> None:
        """RESET hangs on both lines by a capacitor: only the edge to asserted (low) pulls it."""
        edge = (dtr is True and not self._dtr) or (rts is True and not self._rts)
        self._dtr = self._dtr if dtr is None else dtr
        self._rts = self._rts if rts is None else rts
        if edge:
            self.press_reset()

    def press_reset(self) -> None:
        """Press RESET shortly."""
        if self._power.is_on and not self.wire.faults.reset_ignored():
            self._restart()

    def _restart(self) -> None:
        self._power.stop()
        self._start(external=True)

    def hand_sees(self, data: bytes) -> bool:
        """Nothing to do: RESET was pressed when the pty was opened, and there is no other button."""
        del data
        return False

    def set_power(self, *, on: bool) -> None:
        """Connect or cut the supply; flash is kept as far as it was programmed."""
        self._power.switch(on=on)

    def close(self) -> None:
        """End the board; its files stay."""
        self.set_power(on=False)
        self._memory.close()

    def _forget(self) -> None:
        self.wire.forget()

    def _start(self, *, external: bool) -> None:
        chip = self._make_chip()
        self._power.run(lambda: chip.run(external=external))
