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
    """The transfer that is under way.

    `exclusive`: PICOBOOT has taken the board for itself. `flash_aborted`: the ROM waits for the flash no longer, which
    a new configuration makes it do; it reads zeros until a transfer begins, or PICOBOOT's EXIT_XIP.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._chip = machine.chip
        self.exclusive = False
        self.flash_aborted = True
        self.last_writer = ""
        self._forget()

    def abort(self) -> None:
        """The host has configured the device anew."""
        self.flash_aborted = True
        self._count = 0

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
        if block is None or block.family not in self._chip.families:
            return False
        if self.exclusive:
            self._count = 0
            return False
        accepts = self._accept_rp2350 if self._chip.erases_by_address else self._accept_rp2040
        if not accepts(block):
            return False
        if block.number in self._numbers:
            return False
        self._numbers.add(block.number)
        await self._store(block)
        return len(self._numbers) == self._count

    def _accept_rp2040(self, block: Uf2Block) -> bool:
        """Whether the block belongs to the transfer, or begins another one; garbage ends the one that is under way."""
        ram, flash = self._lies(block)
        fits = block.count and (ram or flash) and not (flash and block.address % PAGE)
        if fits and block.count != self._count and not self._begin(block, ram=ram):
            return False
        if not fits or ram != self._ram or block.number >= block.count:
            self._count = 0
            return False
        return True

    def _accept_rp2350(self, block: Uf2Block) -> bool:
        """The same; garbage that names another count or family begins a transfer, too, and ends none otherwise."""
        ram, flash = self._lies(block)
        if (block.count, block.family) != (self._count, self._family) and not self._begin(block, ram=ram):
            return False
        is_placed = ram or (flash and not block.address % PAGE)
        return is_placed and ram == self._ram and block.number < block.count

    def _begin(self, block: Uf2Block, *, ram: bool) -> bool:
        """Another transfer; False for one that is too long."""
        self._forget()
        self._family, self._ram = block.family, ram
        if block.count > self._most_blocks(ram=ram):
            return False
        self._count = block.count
        if not ram:
            self.flash_aborted = False
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
