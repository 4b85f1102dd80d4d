"""The chip's own memories: flash with pages and a boot section, EEPROM, lock bits. No clock, no faults.

Self-programming as in the datasheets' chapter "Boot Loader Support": an erase sets a whole page to 0xFF, programming
only clears bits, addresses wrap at the flash's end, and lock bits keep SPM away from a section: it then does nothing.
"""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

from drivers.virtual import flash
from drivers.virtual.avr.parts import Loader, Part
from drivers.virtual.flash import NorFlash

_BLB01, _BLB11 = 1 << 2, 1 << 4  # 0: SPM may not write the application section, the boot section
UNLOCKED = 0x3F


class PagedFlash(NorFlash):
    """Flash of which single pages can be erased."""

    def erase_page(self, address: int, size: int) -> None:
        at = address % self.size
        at -= at % size
        self._cells[at : at + size] = b"\xff" * size


class Memory:
    """One chip's memories; its files stay from one bench to the next."""

    def __init__(self, part: Part, flash_file: Path, eeprom_file: Path, lock_bits: int) -> None:
        self.part = part
        self.flash = PagedFlash(flash_file)
        self.eeprom = NorFlash(eeprom_file)
        self.lock_bits = lock_bits

    def close(self) -> None:
        self.flash.close()
        self.eeprom.close()

    def page_of(self, address: int) -> int:
        at = address % self.part.flash_size
        return at - at % self.part.page_size

    def is_boot_section(self, address: int) -> bool:
        return address % self.part.flash_size >= self.part.boot_start

    def is_locked(self, address: int) -> bool:
        """Whether the lock bits keep SPM away from there."""
        return not self.lock_bits & (_BLB11 if self.is_boot_section(address) else _BLB01)

    def write_eeprom(self, address: int, value: int) -> None:
        """EEPROM cells erase themselves before they are written."""
        at = address % self.eeprom.size
        self.eeprom._cells[at : at + 1] = bytes([value])

    @property
    def has_loader(self) -> bool:
        """Whether the boot section still holds the loader's code."""
        code = loader_code(self.part)
        return self.flash.read(self.part.flash_size - len(code), len(code)) == code

    @property
    def has_application(self) -> bool:
        """What every boot loader here looks at: the first word is not erased."""
        return self.flash.read(0, 2) != b"\xff\xff"


@cache
def loader_code(part: Part) -> bytes:
    """What stands for the loader's code, which is not run: always the same bytes; Optiboot's version at their end."""
    size = part.loader_size
    code = random.Random(part.loader).randbytes(size)  # noqa: S311 - filler
    versions = {Loader.OPTIBOOT_4: b"\x04\x04", Loader.OPTIBOOT_8: b"\x03\x08"}  # minor, major
    version = versions.get(part.loader, b"")
    return code[: size - len(version)] + version


def create_flash(path: Path, part: Part, contents: bytes) -> None:
    """A new chip's flash: `contents` from 0 on, and the loader where they do not reach."""
    code = loader_code(part)
    start = part.flash_size - len(code)
    flash.create(path, part.flash_size, contents.ljust(start, b"\xff") + code[max(0, len(contents) - start) :])
