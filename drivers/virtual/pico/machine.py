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
_PROGRAM, _READ, _ERASE = 0x02, 0x03, 0x20  # commands of the flash chip


class Machine:
    """One board's hardware, whichever program runs on it. Addresses are the bus's."""

    def __init__(self, chip: Chip, cells: NorFlash, wire: Wire, pace: Pace) -> None:
        self.chip = chip
        self.cells = cells
        self.wire = wire
        self.pace = pace
        self.flash_bounds = 16 << 20  # bytes that RP2350's ROM knows of, where OTP's FLASH_DEVINFO is not set
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

    def may_touch(self, address: int, size: int) -> bool:
        """RP2350's ROM keeps to the size of the flash that it was told, RP2040's knows of none."""
        return self.chip.name == "rp2040" or address + size <= FLASH_BASE + self.flash_bounds

    def is_ram(self, address: int) -> bool:
        return _SRAM <= address <= self.chip.ram_end or (
            _XIP_SRAM <= address <= _XIP_SRAM_END and self.chip.name == "rp2040"
        )

    def is_rom(self, address: int) -> bool:
        return 0 <= address <= self.chip.readable_rom

    def read_flash(self, address: int, size: int) -> bytes:
        """Addresses beyond the chip wrap."""
        if not self._arrives(_READ, address):
            return b"\xff" * size
        return self.cells.read(address - FLASH_BASE, size)

    def _arrives(self, command: int, address: int) -> bool:
        """RP2040's ROM sends the command and 24 bits of the address or'ed: beyond 16 MiB, most are another command."""
        return self.chip.name != "rp2040" or command | (address - FLASH_BASE) >> 24 == command

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
        if not self._arrives(_ERASE, address):
            return
        self.cells.erase(address - FLASH_BASE - (address - FLASH_BASE) % SECTOR, SECTOR)

    async def program(self, address: int, data: bytes) -> None:
        """Program a page. Raises `PowerLost` when the supply drops meanwhile: what came before it is in flash."""
        if not self._arrives(_PROGRAM, address):
            return
        done, lost = self.faults.programmable(len(data))
        self.cells.program(address - FLASH_BASE, data[:done])
        if lost is not None:
            raise lost
        await self.pace.charge(timing.program_s(len(data)))
