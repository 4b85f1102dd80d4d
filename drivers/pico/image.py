"""What an image for RP2040 or RP2350 says of itself: the chips that start it, its name and its version. Pure.

Sources: RP2040 datasheet 2.8.1.3.1 (second stage and its checksum), RP2350 datasheet 5.9 (blocks and IMAGE_DEF),
pico-sdk `pico/binary_info/structure.h` and picotool's `find_binary_info` (binary info).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from drivers.base import Segment

FLASH_BASE = 0x1000_0000

PAGE = 0x100  # bytes; what is programmed at once
HEAD_SIZE = 0x1000  # bytes; RP2350's ROM looks for a block no further
Read = Callable[[int, int], bytes]
"""`read(address, size)`: up to `size` bytes; fewer, or none, where nothing is known of the rest."""

_SECOND_STAGE = 0x100
_BLOCK_START, _BLOCK_END = 0xFFFFDED3, 0xAB123579
_LARGEST_BLOCK = 0x280
_IMAGE_TYPE_ITEM, _PARTITION_TABLE_ITEM = 0x42, 0x0A
_EXECUTABLE = 1
_CHIP_RP2350, _CPU_RISCV = 1, 1

_INFO_START, _INFO_END = 0x7188EBF2, 0xE71AA390
_INFO_REACH = _SECOND_STAGE + 0x400  # picotool: 256 words, behind the second stage where there is one
_ID_AND_STRING = 6
_TAG_RASPBERRY_PI = 0x5052
_PROGRAM_NAME, _PROGRAM_VERSION = 0x02031C86, 0x11A9BC3A
_MOST_ENTRIES, _MOST_MAPPINGS, _LONGEST_STRING = 1024, 64, 256


@dataclass(frozen=True)
class Startable:
    """Which boot ROMs find something to start at the flash's beginning."""

    rp2040: bool
    rp2350: bool
    riscv: bool  # what RP2350 finds is for its RISC-V cores

    @property
    def chips(self) -> tuple[str, ...]:
        return tuple(name for name, there in (("rp2040", self.rp2040), ("rp2350", self.rp2350)) if there)


@dataclass(frozen=True)
class Description:
    """What the binary info says; None where it does not say."""

    name: str | None = None
    version: str | None = None


def startable(head: bytes) -> Startable:
    """By the first `HEAD_SIZE` bytes of the flash."""
    rp2350, riscv = _image_def(head)
    return Startable(_has_second_stage(head), rp2350, riscv)


def _has_second_stage(head: bytes) -> bool:
    if len(head) < _SECOND_STAGE:
        return False
    (stored,) = struct.unpack_from("<I", head, _SECOND_STAGE - 4)
    return bool(stored == crc32_mpeg2(head[: _SECOND_STAGE - 4]))


def crc32_mpeg2(data: bytes) -> int:
    """CRC-32/MPEG-2, as the ROM of RP2040 computes it over the second stage."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = ((crc << 1) ^ (0x04C11DB7 if crc & 0x80000000 else 0)) & 0xFFFFFFFF
    return crc


def _image_def(head: bytes) -> tuple[bool, bool]:
    """Whether RP2350 finds an image or a partition table there, and whether the image is for RISC-V."""
    found = False
    for item, size, flags in _first_items(head[:HEAD_SIZE]):
        if item & 0x7F == _PARTITION_TABLE_ITEM:
            found = True
        if item == _IMAGE_TYPE_ITEM and size == 1 and flags & 0xF == _EXECUTABLE and (flags >> 12) & 7 == _CHIP_RP2350:
            return True, (flags >> 8) & 7 == _CPU_RISCV
    return found, False


def _first_items(head: bytes) -> Iterator[tuple[int, int, int]]:
    """Of each block in the image: its first item's type, size in words and flags."""
    return (struct.unpack_from("<BBH", head, at + 4) for at in _blocks(head))


def _blocks(head: bytes) -> Iterator[int]:
    at = head.find(struct.pack("<I", _BLOCK_START))
    while at != -1:
        if at % 4 == 0 and struct.pack("<I", _BLOCK_END) in head[at : at + _LARGEST_BLOCK] and at + 8 <= len(head):
            yield at
        at = head.find(struct.pack("<I", _BLOCK_START), at + 4)


def deciding_page(head: bytes, *, rp2040: bool) -> int:
    """Where in the flash's first sector the page is without which the chip's ROM finds nothing to start.

    What is cut short before that one is written leaves a board in its boot loader. With the second stage alone, RP2040
    would leave for an application that is not all there, and be reached by no one but a hand at BOOTSEL.
    """
    first = 0 if rp2040 else next(_blocks(head[:HEAD_SIZE]), 0)
    return first - first % PAGE


def from_segments(segments: Sequence[Segment]) -> Read:
    """Reads what segments put in flash."""

    def read(address: int, size: int) -> bytes:
        for segment in segments:
            if segment.address <= address < segment.region.end:
                return segment.data[address - segment.address :][:size]
        return b""

    return read


def head_of(segments: Sequence[Segment]) -> bytes:
    """What segments put at the flash's beginning; empty where they leave it alone."""
    return from_segments(segments)(FLASH_BASE, HEAD_SIZE)


def describe(read: Read, start: int) -> Description:
    """The binary info of the program that begins at an address; an empty description where there is none."""
    header = _info_header(read(start, _INFO_REACH))
    if header is None:
        return Description()
    first, end, table = header
    mapped = _mapped(read, table)
    size = min(end - first, 4 * _MOST_ENTRIES)
    strings = dict(_strings(mapped, _words(mapped(first, size))))
    return Description(strings.get(_PROGRAM_NAME), strings.get(_PROGRAM_VERSION))


def _info_header(head: bytes) -> tuple[int, int, int] | None:
    """Where the pointers to the entries begin and end, and where the table of copied sections is."""
    words = _words(head)
    for at in range(len(words) - 4):
        if words[at] == _INFO_START and words[at + 4] == _INFO_END and words[at + 1] <= words[at + 2]:
            return words[at + 1], words[at + 2], words[at + 3]
    return None


def _words(data: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{len(data) // 4}I", data[: len(data) // 4 * 4])


def _mapped(read: Read, table: int) -> Read:
    """Reads addresses as they are at run time: start-up code copies sections (.data) from flash to RAM."""
    sections: list[tuple[int, int, int]] = []
    for index in range(_MOST_MAPPINGS):
        entry = _words(read(table + 12 * index, 12))
        if len(entry) < 3 or not entry[0]:
            break
        sections.append((entry[0], entry[1], entry[2]))

    def read_mapped(address: int, size: int) -> bytes:
        for source, begin, end in sections:
            if begin <= address < end:
                return read(source + address - begin, min(size, end - address))
        return read(address, size)

    return read_mapped


def _strings(read: Read, pointers: Sequence[int]) -> Iterator[tuple[int, str]]:
    for pointer in pointers:
        entry = read(pointer, 12)
        if len(entry) < 12:
            continue
        kind, tag, name, value = struct.unpack("<HHII", entry)
        if kind == _ID_AND_STRING and tag == _TAG_RASPBERRY_PI:
            text = read(value, _LONGEST_STRING).partition(b"\0")[0].decode("utf-8", "replace")
            if text:
                yield name, text
