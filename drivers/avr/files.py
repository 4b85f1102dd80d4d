"""Firmware files of AVRs, and what they mean for the flash's pages. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import StringIO

from intelhex import IntelHex

from drivers.base import BadImage, Segment
from drivers.files import intel_hex, raw

ERASED = 0xFF
_DATA_SPACE = 0x800000  # avr-gcc's ELF and HEX files have RAM, EEPROM (0x810000), fuses and lock bits from here on
_OTHER_FORMATS = {
    b"\x7fELF": "an ELF file",
    b"UF2\n": "a UF2 file",
    b"PK\x03\x04": "a zip file",
    b":10": "Intel HEX; name it .hex",
    b"S0": "Motorola S-records",
}


def parse(name: str, data: bytes, address: int | None) -> tuple[Segment, ...]:
    """The segments of an Intel HEX file, by its ending, or of raw bytes. Raises `BadImage`."""
    if name.lower().endswith((".hex", ".ihex", ".ihx")):
        return _intel_hex(name, data)
    found = next((what for magic, what in _OTHER_FORMATS.items() if data.startswith(magic)), None)
    if found:
        raise BadImage(f"{name} is {found}, not raw contents of the flash")
    return raw(name, data, address)


def _intel_hex(name: str, data: bytes) -> tuple[Segment, ...]:
    segments = tuple(Segment(start, piece, name) for start, piece in intel_hex(name, data))
    if not segments:
        raise BadImage(f"{name} holds no data")
    return segments


def inspect(segments: Sequence[Segment]) -> None:
    """Raise `BadImage` for what is no contents of an AVR's flash."""
    for segment in segments:
        if segment.region.end > _DATA_SPACE:
            raise BadImage(
                f"{segment.name} has data at {segment.address:#x}: EEPROM, fuses or lock bits, which are not written",
                advice="Nothing was written. Build the file with the flash alone: avr-objcopy -R .eeprom -R .fuse …",
            )
        if segment.address == 0:
            _need_jump(segment)
    if all(segment.data.count(ERASED) == len(segment.data) for segment in segments):
        raise BadImage(f"{segments[0].name} is blank: nothing but 0xff")


def _need_jump(segment: Segment) -> None:
    """The reset vector is an RJMP or a JMP (AVR instruction set manual), as no other family's firmware begins."""
    word = int.from_bytes(segment.data[:2], "little")
    blank = segment.data[:2].count(ERASED) == len(segment.data[:2])
    if not (blank or word & 0xF000 == 0xC000 or word & 0xFE0E == 0x940C):
        raise BadImage(f"{segment.name} does not begin with a jump: it is no firmware of an AVR")


def pages(segments: Sequence[Segment], page_size: int) -> dict[int, bytes]:
    """By address, the pages that the segments touch; what no segment covers of a page is erased.

    Raises `BadImage` where segments overlap.
    """
    made: dict[int, bytearray] = {}
    taken: set[int] = set()
    for segment in segments:
        addresses = range(segment.address, segment.region.end)
        if not taken.isdisjoint(addresses):
            raise BadImage(f"{segment.name} overlaps with another image at or after {segment.address:#x}")
        taken.update(addresses)
        for address, byte in zip(addresses, segment.data, strict=True):
            page = address - address % page_size
            made.setdefault(page, bytearray([ERASED]) * page_size)[address - page] = byte
    return {address: bytes(made[address]) for address in sorted(made)}


def without_gaps(wanted: Mapping[int, bytes], flash: bytes, page_size: int) -> dict[int, bytes]:
    """The pages from 0 to the last one that is wanted; the others hold what is in `flash`."""
    last = max(wanted)
    return {at: wanted.get(at, flash[at : at + page_size]) for at in range(0, last + page_size, page_size)}


def in_safe_order(made: Mapping[int, bytes], page_size: int) -> list[dict[int, bytes]]:
    """What is written one after another: an erased first page, the others, the true first page.

    Caterina never starts an application whose first word is erased (`Caterina.c`, its timer): whatever ends a write in
    between, the board stays in its boot loader. Half of an application would run without USB, and nothing but a hand at
    RESET would help.
    """
    if 0 not in made or len(made) == 1:
        return [dict(made)]
    others = {at: page for at, page in made.items() if at}
    return [{0: bytes([ERASED]) * page_size}, others, {0: made[0]}]


def as_intel_hex(made: Mapping[int, bytes]) -> str:
    """The pages as an Intel HEX file's text: the one format in which a file with gaps says so."""
    image = IntelHex()
    for address, data in made.items():
        image.frombytes(data, offset=address)
    text = StringIO()
    image.write_hex_file(text)
    return text.getvalue()
