"""The flash in a file: what programming and erasing do to it, with write protection. Pure but for the file.

What the flash refuses changes nothing and is told nobody: the controller sets a flag, and the boot loaders do not look
at it (AN3155, notes in 3.6 to 3.8; ST's open boot loader, OPENBL_FLASH_Write and OPENBL_USART_EraseMemory).
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from drivers.virtual.stm32.chips import Chip, Programming
from drivers.virtual.stm32.option_bytes import OptionBytes

_UNITS = {Programming.HALF_WORDS: 2, Programming.BITS: 1, Programming.DOUBLE_WORDS: 8}


class Cells:
    """One chip's flash. Addresses are offsets from its beginning, and lie inside of it."""

    def __init__(self, chip: Chip, path: Path, options: OptionBytes) -> None:
        with path.open("r+b") as file:
            self._cells = mmap.mmap(file.fileno(), 0)
        self.size = len(self._cells)
        self._bounds = chip.sector_bounds(self.size)
        self._programming = chip.programming
        self._options = options

    def close(self) -> None:
        """Release the file; its contents stay."""
        self._cells.close()

    def read(self, offset: int, size: int) -> bytes:
        return self._cells[offset : offset + size]

    @property
    def sectors(self) -> int:
        return len(self._bounds)

    def sector_size(self, sector: int) -> int:
        start, end = self._bounds[sector]
        return end - start

    def erase(self, sector: int) -> None:
        """Erase a sector that there is."""
        if not self._options.write_protected(sector):
            start, end = self._bounds[sector]
            end = min(end, self.size)
            self._cells[start:end] = b"\xff" * (end - start)

    def erase_all(self) -> None:
        """Mass erase. With write protection anywhere it does nothing (PM0075, 2.3.4; RM0444, 3.3.7)."""
        if not any(self._options.write_protected(sector) for sector in range(self.sectors)):
            self.wipe()

    def wipe(self) -> None:
        """What the end of a readout protection does, whatever is write-protected."""
        self._cells[:] = b"\xff" * self.size

    def program(self, offset: int, data: bytes) -> None:
        """Program what the flash takes of the data."""
        for start, piece in self._units(offset, data):
            if not self._options.write_protected(self._sector_at(start)):
                held = self._cells[start : start + len(piece)]
                self._cells[start : start + len(piece)] = self._programmed(held, piece)

    def _units(self, offset: int, data: bytes) -> Iterator[tuple[int, bytes]]:
        """What is programmed at once; a piece at the end is shorter where the supply dropped in the middle of it."""
        unit = _UNITS[self._programming]
        for at in range(0, len(data), unit):
            yield offset + at, data[at : at + unit]

    def _sector_at(self, offset: int) -> int:
        return next(number for number, (start, end) in enumerate(self._bounds) if start <= offset < end)

    def _programmed(self, held: bytes, data: bytes) -> bytes:
        if self._programming is Programming.BITS:
            return bytes(before & new for before, new in zip(held, data, strict=True))
        erased, zeros = held == b"\xff" * len(held), not any(data)
        return data if erased or zeros else held
