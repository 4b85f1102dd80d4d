"""What ESP-IDF's second-stage boot loader does and prints: the partition table, the slot, the image. Pure.

Source: ESP-IDF v5.0, `bootloader_support/src`: bootloader_utility.c, esp_image_format.c, bootloader_common_loader.c.
"""

from __future__ import annotations

from dataclasses import dataclass

from drivers.virtual.esp.chips import Chip
from drivers.virtual.esp.image import (
    IMAGE_MAGIC,
    MAX_SEGMENT_SIZE,
    MAX_SEGMENTS,
    Header,
    Read,
    Segment,
    read_header,
    read_segment,
    read_sums,
)
from drivers.virtual.esp.partitions import FACTORY, OTA_0, TEST, InvalidTable, Partition, boot_order, read_table

_SPEEDS = {0x0: "40MHz", 0x1: "26MHz", 0x2: "20MHz", 0xF: "80MHz"}
_MODES = {0: "QIO", 1: "QOUT", 2: "DIO", 3: "DOUT"}


class IdfLog:
    """Lines as ESP-IDF prints them, with a clock that goes on a little with each."""

    def __init__(self, start_ms: int = 29) -> None:
        self.text = ""
        self._ms = start_ms

    def info(self, tag: str, line: str) -> None:
        """An "I" line."""
        self._line("I", tag, line)

    def error(self, tag: str, line: str) -> None:
        """An "E" line."""
        self._line("E", tag, line)

    def _line(self, level: str, tag: str, line: str) -> None:
        self.text += f"{level} ({self._ms}) {tag}: {line}\r\n"
        self._ms += 4


class _NotBootable(Exception):
    """The image in a partition is not started."""

    def __init__(self, tag: str, reason: str) -> None:
        super().__init__(reason)
        self.tag = tag


@dataclass(frozen=True)
class Loaded:
    """The application that is started; its segments."""

    segments: tuple[Segment, ...]


def boot(chip: Chip, read: Read, own: Header, lines: IdfLog) -> Loaded | None:
    """Find the application and load it; None when there is none that can be started: the chip resets itself."""
    _introduce(chip, own, lines)
    try:
        partitions = read_table(read, own.flash_size)
    except InvalidTable as invalid:
        lines.error("flash_parts", str(invalid))
        lines.error("boot", "Failed to verify partition table")
        lines.error("boot", "load partition table error!")
        return None
    _list(partitions, lines)
    order = boot_order(read, partitions)
    for partition in order:
        try:
            segments = _load(chip, read, partition, lines)
        except _NotBootable as reason:
            lines.error(reason.tag, str(reason))
            lines.error("boot", f"{_name(partition)} is not bootable")
            continue
        lines.info("boot", f"Loaded app from partition at offset 0x{partition.offset:x}")
        lines.info("boot", "Disabling RNG early entropy source...")
        return Loaded(segments)
    lines.error("boot", "No bootable app partitions in the partition table")
    return None


def _introduce(chip: Chip, own: Header, lines: IdfLog) -> None:
    major, minor = chip.default_revision
    lines.info("boot", "ESP-IDF v5.0.8 2nd stage bootloader")
    lines.info("boot", "compile time 00:00:00")
    lines.info("boot", f"chip revision: v{major}.{minor}")
    lines.info(f"boot.{chip.name}", f"SPI Speed      : {_SPEEDS.get(own.flash_size_and_speed & 0xF, '20MHz')}")
    lines.info(f"boot.{chip.name}", f"SPI Mode       : {_MODES.get(own.flash_mode, 'DIO')}")
    lines.info(f"boot.{chip.name}", f"SPI Flash Size : {own.flash_size >> 20}MB")
    lines.info("boot", "Enabling RNG early entropy source...")


def _list(partitions: list[Partition], lines: IdfLog) -> None:
    lines.info("boot", "Partition Table:")
    lines.info("boot", "## Label            Usage          Type ST Offset   Length")
    for number, part in enumerate(partitions):
        kind = f"{part.type:02x} {part.subtype:02x} {part.offset:08x} {part.size:08x}"
        lines.info("boot", f"{number:2d} {part.label:<16} {part.usage:<16} {kind}")
    lines.info("boot", "End of partition table")


def _name(partition: Partition) -> str:
    if partition.subtype == FACTORY:
        return "Factory app partition"
    assert OTA_0 <= partition.subtype < TEST
    return f"OTA app partition slot {partition.subtype - OTA_0}"


def _load(chip: Chip, read: Read, partition: Partition, lines: IdfLog) -> tuple[Segment, ...]:
    at = partition.offset
    header = read_header(read, at, extended=True)
    if header.magic != IMAGE_MAGIC:
        raise _NotBootable("esp_image", f"image at 0x{at:x} has invalid magic byte (nothing flashed here?)")
    if header.chip_id != chip.image_chip_id:
        raise _NotBootable("boot_comm", f"mismatch chip ID, expected {chip.image_chip_id}, found {header.chip_id}")
    if header.segments > MAX_SEGMENTS:
        raise _NotBootable("esp_image", f"image at 0x{at:x} segment count {header.segments} exceeds max {MAX_SEGMENTS}")
    segments = _read_segments(chip, read, at, header, lines)
    _check_length(segments[-1].at + segments[-1].size - at if segments else 0, partition)
    sums = read_sums(read, at, segments, hash_appended=header.hash_appended)
    _check_length(sums.end - at, partition)
    if sums.stored != sums.computed:
        raise _NotBootable("esp_image", f"Checksum failed. Calculated 0x{sums.computed:x} read 0x{sums.stored:x}")
    if sums.stored_digest != sums.computed_digest:
        raise _NotBootable("esp_image", "Image hash failed - image is corrupt")
    return tuple(segments)


def _check_length(length: int, partition: Partition) -> None:
    if length > partition.size:
        raise _NotBootable("esp_image", f"Image length {length} doesn't fit in partition length {partition.size}")


def _read_segments(chip: Chip, read: Read, start: int, header: Header, lines: IdfLog) -> list[Segment]:
    segments: list[Segment] = []
    at = start + header.size
    for number in range(header.segments):
        segment = read_segment(read, at)
        if segment.size % 4:
            raise _NotBootable("esp_image", f"unaligned segment length 0x{segment.size:x}")
        if segment.size > MAX_SEGMENT_SIZE:
            raise _NotBootable("esp_image", f"segment {number} length 0x{segment.size:x} is too large")
        lines.info(
            "esp_image",
            f"segment {number}: paddr={segment.at:08x} vaddr={segment.load_address:08x} "
            f"size={segment.size:05x}h ({segment.size:6d}) {_placement(chip, segment)}",
        )
        segments.append(segment)
        at = segment.at + segment.size
    return segments


def _placement(chip: Chip, segment: Segment) -> str:
    mapped = any(part.start <= segment.load_address < part.end for part in chip.flash_mapped)
    return "map" if mapped else "load" if segment.load_address else ""
