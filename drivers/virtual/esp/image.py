"""Espressif's bootable images as the ROMs and boot loaders read them out of flash. Pure.

Source: esptool documentation, "Firmware Image Format"; ESP-IDF `esp_app_desc_t` (`esp_app_desc.h`).
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass

from drivers.virtual.esp.packets import CHECKSUM_SEED, checksum

Read = Callable[[int, int], bytes]
"""Reads `size` bytes of flash from an address on."""

IMAGE_MAGIC = 0xE9
MAX_SEGMENTS = 16
MAX_SEGMENT_SIZE = 0x1000000  # SIXTEEN_MB in ESP-IDF's esp_image_format.c
_HEADER = struct.Struct("<BBBBI")
_EXTENDED = struct.Struct("<B3xH9xB")  # SPI pins, chip id, revisions, whether a SHA-256 is appended
_DESCRIPTION = struct.Struct("<II8x32s32s16s16s32s32s")
_DESCRIPTION_MAGIC = 0xABCD5432
DESCRIPTION_SIZE = 256
_FLASH_SIZES_ESP32 = {size: (1 << 20) << size for size in range(8)}


@dataclass(frozen=True)
class Header:
    """The first 8 bytes, and the 16 bytes after them where a chip's images have them."""

    magic: int
    segments: int
    flash_mode: int
    flash_size_and_speed: int
    entry: int
    chip_id: int
    hash_appended: bool
    size: int  # bytes of the header itself

    @property
    def flash_size(self) -> int:
        """Bytes of flash that the image was made for."""
        return _FLASH_SIZES_ESP32.get(self.flash_size_and_speed >> 4, 0)


@dataclass(frozen=True)
class Segment:
    """Bytes of the image that belong at an address of the chip's memory."""

    load_address: int
    size: int
    at: int  # where its data is in flash


@dataclass(frozen=True)
class Sums:
    """An image's sums as stored and as computed; `digest` is None where no SHA-256 is appended."""

    stored: int
    computed: int
    stored_digest: bytes | None
    computed_digest: bytes | None
    end: int  # the first address after the image


@dataclass(frozen=True)
class Description:
    """What an application says of itself."""

    version: str
    project: str
    compile_time: str
    compile_date: str
    idf_version: str
    elf_sha256: bytes


def read_header(read: Read, at: int, *, extended: bool) -> Header:
    """The header at an address; whatever is there is read as one."""
    magic, segments, mode, size_and_speed, entry = _HEADER.unpack(read(at, _HEADER.size))
    if not extended:
        return Header(magic, segments, mode, size_and_speed, entry, 0, hash_appended=False, size=_HEADER.size)
    _pins, chip_id, hash_appended = _EXTENDED.unpack(read(at + _HEADER.size, _EXTENDED.size))
    size = _HEADER.size + _EXTENDED.size
    return Header(magic, segments, mode, size_and_speed, entry, chip_id, hash_appended == 1, size)


def read_segment(read: Read, at: int) -> Segment:
    """The segment whose 8-byte header is at an address."""
    load_address, size = struct.unpack("<II", read(at, 8))
    return Segment(load_address, size, at + 8)


def read_sums(read: Read, start: int, segments: list[Segment], *, hash_appended: bool) -> Sums:
    """The checksum, which ends a 16-byte line after the last segment, and the digest behind it."""
    computed = CHECKSUM_SEED
    for segment in segments:
        computed ^= checksum(read(segment.at, segment.size)) ^ CHECKSUM_SEED
    end = segments[-1].at + segments[-1].size if segments else start
    length = ((end - start) | 15) + 1
    stored = read(start + length - 1, 1)[0]
    if not hash_appended:
        return Sums(stored, computed, None, None, start + length)
    digest = hashlib.sha256(read(start, length)).digest()
    return Sums(stored, computed, read(start + length, 32), digest, start + length + 32)


def parse_description(data: bytes) -> Description | None:
    """The `esp_app_desc_t` that the data begins with; None when it is none."""
    if len(data) < DESCRIPTION_SIZE:
        return None
    magic, _secure, version, project, time, date, idf, sha = _DESCRIPTION.unpack_from(data)
    if magic != _DESCRIPTION_MAGIC:
        return None
    return Description(_text(version), _text(project), _text(time), _text(date), _text(idf), sha)


def make_description(description: Description) -> bytes:
    """The 256 bytes of an `esp_app_desc_t`."""
    packed = _DESCRIPTION.pack(
        _DESCRIPTION_MAGIC,
        0,
        description.version.encode(),
        description.project.encode(),
        description.compile_time.encode(),
        description.compile_date.encode(),
        description.idf_version.encode(),
        description.elf_sha256,
    )
    return packed.ljust(DESCRIPTION_SIZE, b"\0")


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "replace")
