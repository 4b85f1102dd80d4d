"""Firmware files: .bin, Intel HEX and ELF become segments. Pure."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import PurePath

from drivers.base import BadImage, Segment
from drivers.files import intel_hex, raw
from drivers.stm32.sectors import FLASH_BASE

FLASH_END = 0x08200000  # of the largest parts (2 MiB); whether it fits the board is seen when the board is
_RAM = (range(0x10000000, 0x10020000), range(0x20000000, 0x30000000))
_JOINED_GAP = 0x800  # bytes; what linkers leave between sections is padding: filled as erased flash
_ELF = b"\x7fELF"
_HEX_ENDINGS = frozenset({".hex", ".ihex", ".ihx"})
_ELF_ENDINGS = frozenset({".elf", ".axf", ".out"})
_FOREIGN = {".uf2": "UF2", ".dfu": "DfuSe", ".s19": "S-record", ".srec": "S-record", ".mot": "S-record"}


def parse(name: str, data: bytes, address: int | None) -> tuple[Segment, ...]:
    """What a file puts where. Raises `BadImage`, and nothing else."""
    ending = PurePath(name).suffix.lower()
    if ending in _FOREIGN:
        raise BadImage(
            f"{name} is a {_FOREIGN[ending]} file",
            advice="Give the build's .bin, .hex or .elf, or convert it (srec_cat, objcopy).",
        )
    if data.startswith(_ELF) or ending in _ELF_ENDINGS:
        return _joined(name, _from_elf(name, data))
    if ending in _HEX_ENDINGS:
        return _joined(name, _from_hex(name, data))
    if _looks_like_hex(data):
        raise BadImage(f"{name} holds Intel HEX", advice="Nothing was written. Name it .hex.")
    return raw(name, data, address)


def _looks_like_hex(data: bytes) -> bool:
    line = data[:80].split(b"\n", 1)[0].strip()
    return line.startswith(b":") and len(line) >= 11 and all(byte in b"0123456789abcdefABCDEF" for byte in line[1:])


def _from_hex(name: str, data: bytes) -> Iterator[tuple[int, bytes]]:
    for start, piece in intel_hex(name, data):
        _need_flash(name, start, len(piece))
        yield start, piece


def _from_elf(name: str, data: bytes) -> Iterator[tuple[int, bytes]]:
    """What is loaded into flash: at its physical address, where .data lies before the start-up code copies it."""
    try:
        pieces = list(_load_segments(data))
    except BadImage:
        raise
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise BadImage(f"{name} is no ELF file: {text}") from error
    for start, piece in pieces:
        if any(start in ram for ram in _RAM):  # what a debugger would put into RAM; a reset does not
            continue
        _need_flash(name, start, len(piece))
        yield start, piece


def _load_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    from elftools.elf.elffile import ELFFile

    elf = ELFFile(io.BytesIO(data))
    if elf["e_machine"] != "EM_ARM" or elf.elfclass != 32 or not elf.little_endian:
        raise BadImage(f"the ELF file is for {elf['e_machine']}, not for an ARM Cortex-M")
    for segment in elf.iter_segments():
        size = segment["p_filesz"]
        if segment["p_type"] == "PT_LOAD" and size:
            contents = data[segment["p_offset"] : segment["p_offset"] + size]
            if len(contents) != size:
                raise BadImage(f"the ELF file ends in the middle of what goes to {segment['p_paddr']:#x}")
            start = segment["p_paddr"]
            # GNU ld lays a segment over the file's own headers where a page has room for them before the flash's base.
            headers = max(FLASH_BASE - start, 0) if segment["p_offset"] == 0 else 0
            yield start + headers, contents[headers:]


def _need_flash(name: str, start: int, size: int) -> None:
    if start < FLASH_BASE or start + size > FLASH_END:
        raise BadImage(
            f"{name} has {size} bytes at {start:#010x}, which is no flash",
            advice="Option bytes, EEPROM and external flash are not written: leave them out of the file.",
        )


def _joined(name: str, pieces: Iterable[tuple[int, bytes]]) -> tuple[Segment, ...]:
    """In order, small gaps filled. Raises `BadImage` for nothing at all, and for two pieces on one address."""
    segments: list[tuple[int, bytearray]] = []
    for start, piece in sorted(pieces):
        if segments and start < segments[-1][0] + len(segments[-1][1]):
            raise BadImage(f"{name} puts two things at {start:#010x}")
        if segments and start - segments[-1][0] - len(segments[-1][1]) < _JOINED_GAP:
            at, before = segments[-1]
            before += b"\xff" * (start - at - len(before)) + piece
        else:
            segments.append((start, bytearray(piece)))
    if not segments:
        raise BadImage(f"{name} has nothing for the flash")
    return tuple(Segment(start, bytes(piece), name) for start, piece in segments)
