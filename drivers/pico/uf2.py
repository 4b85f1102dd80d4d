"""UF2 files: reading them strictly, and building ones that the boot ROMs take as they are meant. Pure.

Format: github.com/microsoft/uf2. What the ROMs make of it: pico-bootrom-rp2040 `virtual_disk.c` and pico-bootrom-rp2350
`usb_virtual_disk.c`. They ignore in silence, and with success, what they do not like, hence the strictness here.

RP2040's ROM erases one 4 KiB sector with the first block of each group of 16 block *numbers*: a file with gaps, or
whose groups do not begin on sectors, ends half erased although the ROM reboots as after a success. So no file is
passed on as it came: its contents are laid out anew, in whole sectors.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, IntFlag

from drivers.base import BadImage, Segment
from drivers.pico.image import FLASH_BASE, deciding_page

BLOCK_SIZE = 512
PAYLOAD = 256  # bytes; the only payload that the ROMs take
SECTOR = 0x1000

_HEADER = struct.Struct("<8I")
_START0, _START1, _END = 0x0A324655, 0x9E5D5157, 0x0AB16F30
_END_OFFSET = BLOCK_SIZE - 4
_DATA_OFFSET = _HEADER.size
_ERASED = b"\xff"
_PAGES = SECTOR // PAYLOAD


class Family(IntEnum):
    """Family ids of the chips (pico-sdk, `boot/uf2.h`)."""

    RP2040 = 0xE48BFF56
    ABSOLUTE = 0xE48BFF57
    DATA = 0xE48BFF58
    RP2350_ARM_S = 0xE48BFF59
    RP2350_RISCV = 0xE48BFF5A
    RP2350_ARM_NS = 0xE48BFF5B


class Flag(IntFlag):
    """Flags of a block (UF2 specification, "Flags")."""

    NOT_MAIN_FLASH = 0x0001
    FILE_CONTAINER = 0x1000
    FAMILY_ID = 0x2000
    EXTENSION = 0x8000


_FLASH_SIZES = {Family.RP2040: 16 << 20}  # what the chip can address; the others have two windows of 16 MiB
_TWO_WINDOWS = 32 << 20

# RP2350-E10: the first transfer after the drive appears must be one of the family ABSOLUTE, or the ROM of the A2 stays
# in its boot loader after the real one. picotool puts this block before every image for RP2350 (`gen_abs_block`).
_E10_ADDRESS = 0x10FF_FF00
_E10_BLOCKS = 2  # one of two: the transfer never completes
_E10_PAYLOAD = b"\xef" * PAYLOAD
_IGNORE_BLOCK = 0x9957E304  # extension tag that later ROMs know: do not write it


@dataclass(frozen=True)
class Block:
    """One block of a file."""

    flags: int
    address: int
    payload: int
    number: int
    count: int
    family: int
    data: bytes

    @property
    def is_e10(self) -> bool:
        """Whether it is the block that works around RP2350-E10, and no part of the image."""
        return self.family == Family.ABSOLUTE and self.count == _E10_BLOCKS and self.data[:PAYLOAD] == _E10_PAYLOAD


@dataclass(frozen=True)
class Image:
    """What a file puts where, and for which family of chips."""

    family: Family
    segments: tuple[Segment, ...]


def is_uf2(data: bytes) -> bool:
    """Whether bytes begin as a UF2 file does."""
    return data[:8] == struct.pack("<II", _START0, _START1)


def parse(name: str, data: bytes) -> Image:
    """Raises `BadImage` for whatever a boot ROM would ignore, leave incomplete or write somewhere else."""
    blocks = [block for block in _blocks(name, data) if not block.is_e10]
    if not blocks:
        raise BadImage(f"{name} holds no block of an image")
    for block in blocks:
        _check(name, block)
    family = _one_family(name, blocks)
    _check_complete(name, blocks)
    return Image(family, tuple(_joined(name, _by_address(name, blocks, family))))


def _blocks(name: str, data: bytes) -> Iterator[Block]:
    if len(data) % BLOCK_SIZE:
        raise BadImage(f"{name} has {len(data)} bytes: it is cut short, UF2 blocks have {BLOCK_SIZE} each")
    for start in range(0, len(data), BLOCK_SIZE):
        first, second, flags, address, size, number, count, family = _HEADER.unpack_from(data, start)
        (last,) = struct.unpack_from("<I", data, start + _END_OFFSET)
        if (first, second, last) != (_START0, _START1, _END):
            raise BadImage(f"{name} is damaged: block {start // BLOCK_SIZE} is no UF2 block")
        yield Block(flags, address, size, number, count, family, data[start + _DATA_OFFSET : start + _END_OFFSET])


def _check(name: str, block: Block) -> None:
    where = f"{name}: block {block.number}"
    if block.flags & (Flag.NOT_MAIN_FLASH | Flag.FILE_CONTAINER):
        raise BadImage(f"{where} is not for the main flash: the boot loader ignores it")
    if not block.flags & Flag.FAMILY_ID:
        raise BadImage(f"{where} names no family of chips: the boot loader ignores it")
    if block.payload != PAYLOAD:
        raise BadImage(f"{where} carries {block.payload} bytes: the boot loader ignores blocks of other than {PAYLOAD}")
    if block.address % PAYLOAD:
        raise BadImage(f"{where} goes to {block.address:#x}, which is no multiple of {PAYLOAD}")


def _one_family(name: str, blocks: Sequence[Block]) -> Family:
    found = sorted({block.family for block in blocks})
    if len(found) > 1:
        raise BadImage(f"{name} is for several families ({', '.join(map(hex, found))}): give one file for each chip")
    try:
        return Family(found[0])
    except ValueError:
        raise BadImage(
            f"{name} is made for another chip (family {found[0]:#010x}): the boot loader ignores it"
        ) from None


def _check_complete(name: str, blocks: Sequence[Block]) -> None:
    """The ROM starts the application when it has had as many different blocks as each of them says."""
    counts = sorted({block.count for block in blocks})
    if len(counts) > 1:
        raise BadImage(f"{name}: its blocks do not agree on how many they are ({', '.join(map(str, counts))})")
    numbers = {block.number for block in blocks}
    if max(numbers) >= counts[0]:
        raise BadImage(f"{name}: block {max(numbers)} is beyond the {counts[0]} that there should be")
    if len(numbers) < counts[0]:
        raise BadImage(f"{name} is incomplete: {len(numbers)} of {counts[0]} blocks; the board would never start it")


def _by_address(name: str, blocks: Iterable[Block], family: Family) -> Mapping[int, bytes]:
    end = FLASH_BASE + _FLASH_SIZES.get(family, _TWO_WINDOWS)
    pages: dict[int, bytes] = {}
    places: dict[int, int] = {}
    for block in blocks:
        if not FLASH_BASE <= block.address < end:
            raise BadImage(f"{name}: block {block.number} goes to {block.address:#x}, which is not flash")
        data = block.data[:PAYLOAD]
        if pages.setdefault(block.address, data) != data:
            raise BadImage(f"{name}: two blocks put different bytes at {block.address:#x}")
        if places.setdefault(block.number, block.address) != block.address:
            raise BadImage(f"{name}: two blocks have the number {block.number}")
    return pages


def _joined(name: str, pages: Mapping[int, bytes]) -> Iterator[Segment]:
    start, data = 0, bytearray()
    for address in sorted(pages):
        if data and address != start + len(data):
            yield Segment(start, bytes(data), name)
            data = bytearray()
        if not data:
            start = address
        data += pages[address]
    yield Segment(start, bytes(data), name)


def build(segments: Iterable[Segment], family: Family, *, absolute_block: bool) -> bytes:
    """A file of whole sectors, erased where the segments say nothing; groups of 16 blocks are sectors.

    The sector that the ROM starts from is begun first and finished last, with the page that decides: until the file is
    through, the ROM finds nothing to start there and stays in its boot loader, where the next attempt finds it without
    a hand at the board.
    Before it, a block ends what an earlier copy left unfinished: the ROMs tell transfers apart by how many blocks they
    have, and would take another file of as many for the rest of that one, ignoring each block number that they had.
    `absolute_block`: put the block for RP2350-E10 before it all.
    """
    sectors = laid_out(segments)
    pages = [
        (address + at, data[at : at + PAYLOAD]) for address, data in sectors.items() for at in range(0, SECTOR, PAYLOAD)
    ]
    order = list(range(len(pages)))
    if FLASH_BASE in sectors:
        last = deciding_page(sectors[FLASH_BASE], rp2040=family is Family.RP2040) // PAYLOAD
        *others, first = (page for page in order[:_PAGES] if page != last)
        order = [first, *order[_PAGES:], *others, last]
    head = (_e10_block() if absolute_block else b"") + _block(0, b"", 0, 0, family)
    return head + b"".join(_block(*pages[number], number, len(pages), family) for number in order)


def laid_out(segments: Iterable[Segment]) -> dict[int, bytes]:
    """The sectors that the segments touch, by ascending address; erased where the segments say nothing."""
    sectors: dict[int, bytearray] = {}
    for segment in segments:
        for address in range(segment.address - segment.address % SECTOR, segment.region.end, SECTOR):
            sector = sectors.setdefault(address, bytearray(_ERASED * SECTOR))
            first = max(address, segment.address)
            piece = segment.data[first - segment.address : address + SECTOR - segment.address]
            sector[first - address : first - address + len(piece)] = piece
    return {address: bytes(sectors[address]) for address in sorted(sectors)}


def _block(address: int, data: bytes, number: int, count: int, family: int) -> bytes:
    header = _HEADER.pack(_START0, _START1, Flag.FAMILY_ID, address, PAYLOAD, number, count, family)
    return (header + data).ljust(_END_OFFSET, b"\0") + struct.pack("<I", _END)


def _e10_block() -> bytes:
    flags = Flag.FAMILY_ID | Flag.EXTENSION
    header = _HEADER.pack(_START0, _START1, flags, _E10_ADDRESS, PAYLOAD, 0, _E10_BLOCKS, Family.ABSOLUTE)
    data = header + _E10_PAYLOAD + struct.pack("<I", _IGNORE_BLOCK)
    return data.ljust(_END_OFFSET, b"\0") + struct.pack("<I", _END)
