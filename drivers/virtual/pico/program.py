"""What the boot ROM finds in flash, and what the program there says of itself. Pure.

Sources: RP2040 datasheet 2.8.1.3.1; RP2350 datasheet 5.9 (minimum IMAGE_DEF); pico-sdk's `pico/binary_info/structure.h`
and `defs.h`. Code is not executed: a program is what its binary info says.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from drivers.virtual.pico.chips import FLASH_BASE, Chip

Read = Callable[[int, int], bytes]
BOOT2_SIZE = 0x100
_HEAD = 0x1000
_BLOCK = b"\xd3\xde\xff\xff"
_BLOCK_END = b"\x79\x35\x12\xab"
_IMAGE_DEF = 0x42
_EXE_ON_RP2350 = (0x1001, 0x700F)  # value and mask: image type EXE, chip RP2350
_INFO = struct.Struct("<5I")
_MARKERS = (0x7188EBF2, 0xE71AA390)
_ENTRY = struct.Struct("<HHII")
_STRING_ENTRY = (6, 0x5052)
_NAME, _VERSION = 0x02031C86, 0x11A9BC3A

_BENCH = struct.Struct("<8sIIII")
_BENCH_MAGIC = b"BENCHAPP"


class Behaviour(IntEnum):
    """What the bench's own firmware does after its start."""

    RUN = 0
    PANIC = 1


@dataclass(frozen=True)
class Program:
    """A program in flash; without a name or a version where it gives none."""

    name: str
    version: str
    behaviour: Behaviour = Behaviour.RUN
    is_whole: bool = True  # the bench's own firmware carries a checksum of its code


def crc32(data: bytes) -> int:
    """CRC-32/MPEG-2: the reversed CRC of zlib over reversed bits, without the last inversion."""
    mirrored = bytes(int(f"{byte:08b}"[::-1], 2) for byte in data)
    return int(f"{zlib.crc32(mirrored) ^ 0xFFFFFFFF:032b}"[::-1], 2)


def is_startable(chip: Chip, read: Read) -> bool:
    """Whether the boot ROM leaves for what is in flash; else it stays in its boot loader."""
    if chip.name == "rp2040":
        boot2 = read(FLASH_BASE, BOOT2_SIZE)
        return struct.pack("<I", crc32(boot2[:-4])) == boot2[-4:]
    head = read(FLASH_BASE, _HEAD)
    at = head.find(_BLOCK)
    while at >= 0:
        item, size, flags = struct.unpack_from("<BBH", head.ljust(_HEAD + 8, b"\0"), at + 4)
        ends = _BLOCK_END in head[at : at + 0x280]
        if at % 4 == 0 and ends and (item, size) == (_IMAGE_DEF, 1) and flags & _EXE_ON_RP2350[1] == _EXE_ON_RP2350[0]:
            return True
        at = head.find(_BLOCK, at + 4)
    return False


def in_flash(read: Read) -> Program | None:
    """The program that starts there; None where it does not say what it is."""
    head = read(FLASH_BASE, 0x600)
    for at in range(0, len(head) - _INFO.size, 4):
        start, first, end, _table, last = _INFO.unpack_from(head, at)
        if (start, last) == _MARKERS and FLASH_BASE <= first <= end <= first + 0x1000:
            said = dict(_strings(read, first, end))
            bench = _bench_block(read, end)
            return Program(said.get(_NAME, ""), said.get(_VERSION, ""), *bench)
    return None


def _strings(read: Read, first: int, end: int) -> Iterator[tuple[int, str]]:
    for pointer in range(first, end, 4):
        (place,) = struct.unpack("<I", read(pointer, 4))
        kind, tag, name, value = _ENTRY.unpack(read(place, _ENTRY.size))
        if (kind, tag) == _STRING_ENTRY and value >= FLASH_BASE:
            yield name, read(value, 256).split(b"\0")[0].decode("utf-8", "replace")


def _bench_block(read: Read, place: int) -> tuple[Behaviour, bool]:
    """Behind the pointers. Real firmware has none: it runs, and is taken to be whole."""
    magic, behaviour, at, size, crc = _BENCH.unpack(read(place, _BENCH.size))
    if magic != _BENCH_MAGIC or behaviour not in set(Behaviour) or size > 1 << 24:
        return Behaviour.RUN, True
    return Behaviour(behaviour), zlib.crc32(read(at, size)) == crc


def bench_block(behaviour: Behaviour, at: int, code: bytes) -> bytes:
    """The block as it stands in the bench's own firmware; `at` is the code's address."""
    return _BENCH.pack(_BENCH_MAGIC, behaviour, at, len(code), zlib.crc32(code))


BENCH_BLOCK_SIZE = _BENCH.size
