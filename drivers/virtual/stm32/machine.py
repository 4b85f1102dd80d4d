"""The parts of a board that its programs work on, and flash operations with their time and their faults."""

from __future__ import annotations

from dataclasses import dataclass

from drivers.virtual import timing
from drivers.virtual.faults import Faults
from drivers.virtual.stm32.chips import Chip
from drivers.virtual.stm32.memory import Memory
from drivers.virtual.timing import Pace
from drivers.virtual.wire import Wire


@dataclass
class Machine:
    """One board's hardware, whichever program runs on it."""

    chip: Chip
    uid: bytes
    memory: Memory
    wire: Wire
    pace: Pace

    @property
    def faults(self) -> Faults:
        """The board's faults at present."""
        return self.wire.faults

    async def charge(self, seconds: float) -> None:
        """Wait for an erase of so many seconds, and for what a fault adds to it."""
        await self.pace.charge(seconds)
        await timing.delay(self.faults.erase_delay_s())

    async def erase(self, sector: int) -> None:
        """Erase a page or a sector."""
        size = self.memory.cells.sector_size(sector)
        await self.charge(self.chip.erase_s_per_sector + size * self.chip.erase_s_per_byte)
        self.memory.cells.erase(sector)

    async def erase_all(self) -> None:
        """Mass erase."""
        await self.charge(self.chip.mass_erase_s)
        self.memory.cells.erase_all()

    async def program(self, offset: int, data: bytes) -> None:
        """Program bytes. Raises `PowerLost` when the supply drops meanwhile: what came before it is in flash."""
        done, lost = self.faults.programmable(len(data))
        self.memory.cells.program(offset, data[:done])
        if lost is not None:
            raise lost
        await self.pace.charge(len(data) * self.chip.program_s_per_byte)
