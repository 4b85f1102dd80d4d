"""SPI NOR flash in a file: what is written stays from one bench to the next, a power cut leaves what was programmed.

Programming only clears bits, erasing sets whole sectors to 0xFF; addresses beyond the chip wrap, as its upper address
bits are not connected (any SPI NOR datasheet, e.g. Winbond W25Q32JV).
"""

from __future__ import annotations

import mmap
import os
import tempfile
from pathlib import Path

SECTOR = 0x1000
BLOCK = 0x10000
PAGE = 0x100
_BLANK_SECTOR = b"\xff" * SECTOR


class NorFlash:
    """One chip. Every address is taken modulo its size; lengths never exceed it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("r+b") as file:
            self._cells = mmap.mmap(file.fileno(), 0)
        self.size = len(self._cells)

    def close(self) -> None:
        """Release the file; its contents stay."""
        self._cells.close()

    def read(self, address: int, size: int) -> bytes:
        """`size` bytes from `address` on, around the chip's end where needed."""
        address %= self.size
        data = self._cells[address : address + size]
        while len(data) < size:
            data += self._cells[: size - len(data)]
        return data

    def program(self, address: int, data: bytes) -> None:
        """Clear the bits that are 0 in `data`; no bit is ever set."""
        address %= self.size
        room = self.size - address
        if len(data) > room:
            self.program(0, data[room:])
            data = data[:room]
        held = int.from_bytes(self._cells[address : address + len(data)], "little")
        new = held & int.from_bytes(data, "little")
        self._cells[address : address + len(data)] = new.to_bytes(len(data), "little")

    def erase(self, address: int, size: int) -> None:
        """Erase the sectors from `address` (of a sector's beginning) on that `size` bytes touch."""
        for sector in range(address, address + size, SECTOR):
            at = sector % self.size
            self._cells[at : at + SECTOR] = _BLANK_SECTOR

    def erase_all(self) -> None:
        """Chip erase."""
        for at in range(0, self.size, BLOCK):
            size = min(BLOCK, self.size - at)
            self._cells[at : at + size] = b"\xff" * size

    def blank_sectors(self, address: int, size: int) -> int:
        """How many of the sectors that the region touches hold nothing but 0xFF."""
        starts = range(address, address + size, SECTOR)
        return sum(self.read(sector, SECTOR) == _BLANK_SECTOR for sector in starts)


def create(path: Path, size: int, contents: bytes) -> None:
    """Make a chip's file of `size` bytes, with `contents` from 0 on; it is there entirely or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    with os.fdopen(handle, "wb") as file:
        os.fchmod(handle, 0o644)  # mkstemp's files are the owner's alone
        file.write(contents)
        for _ in range(len(contents), size, BLOCK):
            file.write(b"\xff" * min(BLOCK, size - file.tell()))
    Path(name).replace(path)
