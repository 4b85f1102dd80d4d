"""One sector of 512 bytes as the ROMs look at it. Pure. Source: `struct uf2_block` in pico-bootrom's `boot/uf2.h`."""

from __future__ import annotations

import struct
from dataclasses import dataclass

SECTOR = 512
_BLOCK = struct.Struct("<IIIIIIII476sI")
_MAGICS = (0x0A324655, 0x9E5D5157, 0x0AB16F30)
_NOT_MAIN_FLASH, _FAMILY_PRESENT = 0x0001, 0x2000
_PAYLOAD = 256


@dataclass(frozen=True)
class Uf2Block:
    address: int
    number: int
    count: int
    family: int
    data: bytes


def parse(sector: bytes) -> Uf2Block | None:
    """The block that the ROMs take the sector for; None for one that they ignore."""
    if len(sector) != SECTOR:
        return None
    start0, start1, flags, address, size, number, count, family, data, end = _BLOCK.unpack(sector)
    if (start0, start1, end) != _MAGICS or not flags & _FAMILY_PRESENT or flags & _NOT_MAIN_FLASH or size != _PAYLOAD:
        return None
    return Uf2Block(address, number, count, family, data[:_PAYLOAD])
