"""The parts of a board that its programs work on: flash with its time and its faults, RAM and ROM."""

from __future__ import annotations

from drivers.virtual import timing
from drivers.virtual.faults import Faults
from drivers.virtual.flash import SECTOR, NorFlash
from drivers.virtual.pico.chips import FLASH_BASE, Chip
from drivers.virtual.timing import Pace
from drivers.virtual.wire import Wire

PAGE = 256
_USB_BYTES_PER_S = 19 * 64 * 1000  # full speed, bulk: 19 packets of 64 bytes a frame at most (USB 2.0, table 5-9)
_SRAM = 0x2000_0000
_XIP_SRAM, _XIP_SRAM_END = 0x1500_0000, 0x1500_4000


class Machine:
    """One board's hardware, whichever program runs on it. Addresses are the bus's."""

    def __init__(self, chip: Chip, cells: NorFlash, wire: Wire, pace: Pace) -> None:
        self.chip = chip
        self.cells = cells
        self.wire = wire
        self.pace = pace
        self._ram: dict[int, int] = {}

    async def usb(self, size: int) -> None:
        """So many bytes pass the bus."""
        await self.pace.charge(size / _USB_BYTES_PER_S)

    @property
    def faults(self) -> Faults:
        """The board's faults at present."""
        return self.wire.faults

    def is_flash(self, address: int) -> bool:
        """As the ROMs see it: whatever the window covers, however small the chip."""
        return FLASH_BASE <= address <= self.chip.flash_end

    def is_ram(self, address: int) -> bool:
        return _SRAM <= address <= self.chip.ram_end or (
            _XIP_SRAM <= address <= _XIP_SRAM_END and self.chip.name == "rp2040"
        )

    def is_rom(self, address: int) -> bool:
        return 0 <= address <= self.chip.readable_rom

    def read_flash(self, address: int, size: int) -> bytes:
        """Addresses beyond the chip wrap."""
        return self.cells.read(address - FLASH_BASE, size)

    def read_rom(self, address: int, size: int) -> bytes:
        return self.chip.rom.ljust(address + size, b"\0")[address : address + size]

    def read_ram(self, address: int, size: int) -> bytes:
        """What was never written reads as zero."""
        return bytes(self._ram.get(at, 0) for at in range(address, address + size))

    def write_ram(self, address: int, data: bytes) -> None:
        self._ram.update(enumerate(data, address))

    async def erase_sector(self, address: int) -> None:
        await self.pace.charge(timing.erase_s(SECTOR))
        await timing.delay(self.faults.erase_delay_s())
        self.cells.erase(address - FLASH_BASE - (address - FLASH_BASE) % SECTOR, SECTOR)

    async def program(self, address: int, data: bytes) -> None:
        """Program a page. Raises `PowerLost` when the supply drops meanwhile: what came before it is in flash."""
        done, lost = self.faults.programmable(len(data))
        self.cells.program(address - FLASH_BASE, data[:done])
        if lost is not None:
            raise lost
        await self.pace.charge(timing.program_s(len(data)))
