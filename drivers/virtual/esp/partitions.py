"""The partition table and the OTA data as ESP-IDF's second-stage boot loader reads them. Pure.

Source: ESP-IDF, `bootloader_support/src/flash_partitions.c` and `bootloader_common.c`, "Partition Tables" in its guide.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import dataclass

from drivers.virtual.esp.image import Read

TABLE_AT = 0x8000
TABLE_SIZE = 0xC00
_ENTRY = struct.Struct("<HBBII16sI")
_MAGIC, _MD5_MAGIC, _END_MAGIC = 0x50AA, 0xEBEB, 0xFFFF
_OTA_SELECT = struct.Struct("<I20sII")
_SECTOR = 0x1000
_STATES_NOT_TO_BOOT = frozenset({3, 4})  # ESP_OTA_IMG_INVALID, ESP_OTA_IMG_ABORTED

APP, DATA = 0x00, 0x01
FACTORY, OTA_0, TEST = 0x00, 0x10, 0x20
OTA_DATA = 0x00


@dataclass(frozen=True)
class Partition:
    """One entry of the table."""

    type: int
    subtype: int
    offset: int
    size: int
    label: str

    @property
    def usage(self) -> str:
        """The boot loader's words for it."""
        if self.type == APP:
            known = {FACTORY: "factory app", TEST: "test app"}
            return known.get(self.subtype, "OTA app" if OTA_0 <= self.subtype < TEST else "Unknown app")
        if self.type == DATA:
            known = {0x00: "OTA data", 0x01: "RF data", 0x02: "WiFi data", 0x04: "NVS keys"}
            return known.get(self.subtype, "Unknown data")
        return "unknown"


class InvalidTable(Exception):
    """The boot loader does not take the table; the message is its own."""


def make_table(partitions: list[Partition]) -> bytes:
    """The table with its MD5 entry, filled up to its full size."""
    entries = b"".join(
        _ENTRY.pack(_MAGIC, part.type, part.subtype, part.offset, part.size, part.label.encode(), 0)
        for part in partitions
    )
    md5 = struct.pack("<H", _MD5_MAGIC) + b"\xff" * 14 + hashlib.md5(entries).digest()
    return (entries + md5).ljust(TABLE_SIZE, b"\xff")


def read_table(read: Read, flash_size: int) -> list[Partition]:
    """The partitions. Raises InvalidTable as `esp_partition_table_verify` fails."""
    table = read(TABLE_AT, TABLE_SIZE)
    partitions: list[Partition] = []
    md5_seen = False
    for number, at in enumerate(range(0, TABLE_SIZE, _ENTRY.size)):
        magic, kind, subtype, offset, size, label, _flags = _ENTRY.unpack_from(table, at)
        if magic == _END_MAGIC:
            if not md5_seen:
                raise InvalidTable("No MD5 found in partition table")
            return partitions
        if magic == _MD5_MAGIC:
            if md5_seen:
                raise InvalidTable("Only one MD5 checksum is allowed")
            if table[at + 16 : at + 32] != hashlib.md5(table[:at]).digest():
                raise InvalidTable("Incorrect MD5 checksum")
            md5_seen = True
        elif magic != _MAGIC:
            raise InvalidTable(f"partition {number} invalid magic number 0x{magic:x}")
        elif offset + size > flash_size:
            raise InvalidTable(
                f"partition {number} invalid - offset 0x{offset:x} size 0x{size:x} "
                f"exceeds flash chip size 0x{flash_size:x}"
            )
        else:
            text = label.split(b"\0", 1)[0].decode("utf-8", "replace")
            partitions.append(Partition(kind, subtype, offset, size, text))
    raise InvalidTable("partition table has no terminating entry, not valid")


def boot_order(read: Read, partitions: list[Partition]) -> list[Partition]:
    """The application partitions in the order in which the boot loader tries them."""
    factory = [part for part in partitions if part.type == APP and part.subtype == FACTORY]
    slots = sorted(
        (part for part in partitions if part.type == APP and OTA_0 <= part.subtype < TEST),
        key=lambda part: part.subtype,
    )
    start = _selected_slot(read, partitions, len(slots))
    if start is None:
        return factory + slots
    return slots[start::-1] + factory + slots[start + 1 :]


def _selected_slot(read: Read, partitions: list[Partition], slots: int) -> int | None:
    ota_data = next((part for part in partitions if part.type == DATA and part.subtype == OTA_DATA), None)
    if ota_data is None or not slots:
        return None
    sequences = [_sequence(read(ota_data.offset + copy * _SECTOR, _OTA_SELECT.size)) for copy in range(2)]
    valid = [sequence for sequence in sequences if sequence is not None]
    return (max(valid) - 1) % slots if valid else None


def _sequence(entry: bytes) -> int | None:
    sequence, _label, state, crc = _OTA_SELECT.unpack(entry)
    if sequence in (0, 0xFFFFFFFF) or state in _STATES_NOT_TO_BOOT:
        return None
    return int(sequence) if crc == zlib.crc32(entry[:4], 0xFFFFFFFF) else None
