"""The parts of a board that its programs work on, and flash operations with their time and their faults."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from drivers.virtual import timing
from drivers.virtual.esp import efuse
from drivers.virtual.esp.chips import Chip
from drivers.virtual.esp.memory import Memory
from drivers.virtual.esp.spi import FlashChip, SpiController
from drivers.virtual.faults import Faults
from drivers.virtual.flash import SECTOR, NorFlash
from drivers.virtual.timing import Pace
from drivers.virtual.wire import Wire


@dataclass
class Machine:
    """One board's hardware, whichever program runs on it."""

    chip: Chip
    mac: bytes
    cells: NorFlash
    wire: Wire
    pace: Pace
    burned: Mapping[int, int]  # eFuses: register address to bits, besides those that every such chip has
    spi: SpiController = field(init=False)
    memory: Memory = field(init=False)

    def __post_init__(self) -> None:
        self.spi = SpiController(self.chip.spi, FlashChip(self.cells))
        self.memory = Memory(self.chip, self.spi, efuse.registers(self.chip, self.mac, self.burned))

    @property
    def faults(self) -> Faults:
        """The board's faults at present."""
        return self.wire.faults

    def set_baud(self, baud: int) -> None:
        """Set the UART's rate, and the divider that shows it."""
        self.wire.baud = baud
        self.memory.set_register(self.chip.uart_divider_register, self.chip.uart_clock // baud)

    async def erase(self, address: int, size: int) -> None:
        """Erase the sectors that the region touches; beyond its end the flash chip begins anew."""
        start = address - address % SECTOR
        size = -(-(address + size - start) // SECTOR) * SECTOR
        await self._erasing(timing.erase_s(size))
        self.cells.erase(start, min(size, self.cells.size))

    async def is_blank(self, sector: int) -> bool:
        """Whether a sector holds nothing but 0xFF, by reading it."""
        await self.pace.charge(timing.BLANK_CHECK_S)
        return self.cells.blank_sectors(sector, SECTOR) == 1

    async def erase_chip(self) -> None:
        """The chip erase command."""
        await self._erasing(timing.chip_erase_s(self.cells.size))
        self.cells.erase_all()

    async def _erasing(self, seconds: float) -> None:
        await self.pace.charge(seconds)
        await timing.delay(self.faults.erase_delay_s())

    async def program(self, address: int, data: bytes) -> None:
        """Program bytes. Raises `PowerLost` when the supply drops meanwhile: what came before it is in flash."""
        done, lost = self.faults.programmable(len(data))
        self.cells.program(address, data[:done])
        if lost is not None:
            raise lost
        await self.pace.charge(timing.program_s(len(data)))

    async def md5(self, address: int, size: int) -> bytes:
        """The digest of a region as the board reports it."""
        await self.pace.charge(timing.md5_s(size))
        digest = hashlib.md5()
        for start in range(0, size, 1 << 20):
            digest.update(self.cells.read(address + start, min(1 << 20, size - start)))
        return self.faults.digest(digest.digest())
