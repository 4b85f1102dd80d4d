"""What the boot ROMs do with the sectors that are written to their drive: they ignore in silence what they do not like.

Sources: pico-bootrom-rp2040 `virtual_disk.c`, pico-bootrom-rp2350 `usb_virtual_disk.c` (`_update_current_uf2_info`,
`_write_uf2_page`): blocks count in any order; the application starts when as many different ones came as each says.
"""

from __future__ import annotations

from drivers.virtual.flash import SECTOR
from drivers.virtual.pico.machine import PAGE, Machine
from drivers.virtual.pico.uf2_blocks import Uf2Block, parse

_RP2040_MOST_BLOCKS = 123_360  # FLASH_MAX_VALID_BLOCKS: two bit sets in 16 KiB
_RP2350_MOST_BLOCKS = 131_072
_MOST_RAM_BLOCKS = {"rp2040": 1280, "rp2350": 2144}
_BLOCKS_PER_SECTOR = SECTOR // PAGE
DRIVE = "drive"  # who wrote last: the drive, or PICOBOOT


class Uf2Loader:
    """The transfer that is under way. `exclusive`: PICOBOOT has taken the board for itself."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._chip = machine.chip
        self.exclusive = False
        self.last_writer = ""
        self._forget()

    def _forget(self) -> None:
        self._count = 0
        self._family = 0
        self._ram = False
        self._numbers: set[int] = set()
        self._erased: set[int] = set()

    async def write(self, sector: bytes) -> bool:
        """Take one sector of 512 bytes; True when it completed a transfer, so that the chip is about to restart.

        Raises `PowerLost`.
        """
        await self._machine.usb(len(sector))
        block = parse(sector)
        if block is None or block.family not in self._chip.families or self.exclusive:
            return False
        if not self._accept(block):
            return False
        if block.number in self._numbers:
            return False
        self._numbers.add(block.number)
        await self._store(block)
        return len(self._numbers) == self._count

    def _accept(self, block: Uf2Block) -> bool:
        """Whether the block belongs to the transfer, or begins another one; garbage ends the one that is under way."""
        ram, flash = self._lies(block)
        if not block.count or not (ram or flash) or (flash and block.address % PAGE):
            self._count = 0
            return False
        if block.count != self._count or (self._chip.erases_by_address and block.family != self._family):
            self._forget()
            if block.count > self._most_blocks(ram=ram):
                return False
            self._count, self._family, self._ram = block.count, block.family, ram
        if ram != self._ram or block.number >= block.count:
            self._count = 0
            return False
        return True

    def _lies(self, block: Uf2Block) -> tuple[bool, bool]:
        last = block.address + PAGE - 1
        machine = self._machine
        ram = machine.is_ram(block.address) and machine.is_ram(last)
        return ram, machine.is_flash(block.address) and machine.is_flash(last)

    def _most_blocks(self, *, ram: bool) -> int:
        if ram:
            return _MOST_RAM_BLOCKS[self._chip.name]
        return _RP2350_MOST_BLOCKS if self._chip.erases_by_address else _RP2040_MOST_BLOCKS

    async def _store(self, block: Uf2Block) -> None:
        if self._ram:
            self._machine.write_ram(block.address, block.data)
            return
        # RP2040 keeps the sectors that it has erased by the numbers of the blocks: right only for files without gaps.
        key = block.address // SECTOR if self._chip.erases_by_address else block.number // _BLOCKS_PER_SECTOR
        self.last_writer = DRIVE
        if key not in self._erased:
            self._erased.add(key)
            await self._machine.erase_sector(block.address - block.address % SECTOR)
        await self._machine.program(block.address, block.data)

    @property
    def into_ram(self) -> bool:
        """Whether the transfer went to RAM: code that is not executed here."""
        return self._ram
