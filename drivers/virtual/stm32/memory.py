"""A chip's address space as its boot loader lets others see it: flash, RAM, system memory, option bytes."""

from __future__ import annotations

import struct

from drivers.virtual.stm32.cells import Cells
from drivers.virtual.stm32.chips import FLASH_BASE, Area, Chip
from drivers.virtual.stm32.option_bytes import OptionBytes

_BLOCK = 256


class Memory:
    """One chip's memory."""

    def __init__(self, chip: Chip, uid: bytes, cells: Cells, options: OptionBytes) -> None:
        self.chip = chip
        self.cells = cells
        self.options = options
        self.flash = Area(FLASH_BASE, FLASH_BASE + cells.size)
        self._ram = bytearray(chip.ram.end - chip.ram.start)
        self._system = self._with_signature(uid)

    def _with_signature(self, uid: bytes) -> bytes:
        """The boot loader's own code is nobody's to copy: zeros, but for what the factory wrote."""
        system = bytearray(self.chip.system.end - self.chip.system.start)
        for address, data in (
            (self.chip.uid_at, uid),
            (self.chip.flash_size_at, struct.pack("<H", self.cells.size // 1024)),
        ):
            at = address - self.chip.system.start
            system[at : at + len(data)] = data
        return bytes(system)

    def is_readable(self, address: int) -> bool:
        """Whether the boot loader acknowledges an address for reading."""
        if self._is_signature(address) and address % _BLOCK:
            return False
        return (
            self.is_flash(address)
            or self.is_free_ram(address)
            or self.chip.system.holds(address)
            or (self.chip.options.holds(address))
        )

    def _is_signature(self, address: int) -> bool:
        return self.chip.signature_in_blocks and address // _BLOCK == self.chip.uid_at // _BLOCK

    def is_flash(self, address: int, size: int = 1) -> bool:
        return self.flash.holds(address, size)

    def is_free_ram(self, address: int, size: int = 1) -> bool:
        """RAM that the boot loader does not need itself."""
        return self.chip.ram.holds(address, size) and address >= self.chip.loader_ram.end

    def read(self, address: int, size: int) -> bytes | None:
        """None where the memory ends in between."""
        if self.is_flash(address, size):
            return self.cells.read(address - FLASH_BASE, size)
        if self.chip.ram.holds(address, size):
            return bytes(self._ram[address - self.chip.ram.start :][:size])
        if self.chip.system.holds(address, size):
            return self._system[address - self.chip.system.start :][:size]
        if self.chip.options.holds(address, size):
            return self.options.read()[address - self.chip.options.start :][:size]
        return None

    def store(self, address: int, data: bytes) -> None:
        """Put bytes into RAM."""
        at = address - self.chip.ram.start
        self._ram[at : at + len(data)] = data
