"""Writing: erase what is touched and nothing else, keep what is only touched, and see that the flash takes it.

A sector of an F4 has up to 128 KiB, one of an F7 256 KiB. What a write leaves open in a sector is read before the
erase and written back after it, so that a settings page or a second image behind the firmware survives.

Boot loaders answer ACK although the flash refused (AN3155, 3.6 and 3.7: "no error is returned when performing … on
write-protected sectors"; ST's open boot loader ignores the flash's errors altogether). So the first bytes of each unit
that can be protected by itself are read back at once; the rest is for whoever verifies.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from drivers.base import BadImage, FlashFailed, Log, Progress, Region, Segment
from drivers.stm32.loader import Loader
from drivers.stm32.parts import Cells, Part
from drivers.stm32.protocol import MAX_BLOCK, Refused
from drivers.stm32.sectors import Patch, Sector, patches

_GROUP = 0x4000  # bytes of sectors that are erased with one command; a larger sector is a group of its own
_ERASE_BASE_S = 5.0
_ERASE_S_PER_BYTE = 8.0 / 0x20000  # F4's 128 KiB take 1 to 4 s by datasheet, at low voltage
_ERASE_SECTOR_S = 2.5  # pages take 3 to 40 ms by datasheet; stm32flash gives a worn or cold one 5 s
_ERASE_AT_MOST_S = 60.0  # whatever the pages are


def write_segments(
    loader: Loader,
    part: Part,
    sectors: Sequence[Sector],
    segments: Sequence[Segment],
    progress: Progress,
    log: Log,
) -> None:
    """Make the flash hold the segments. Raises `BadImage`, `FlashFailed`, and what the loader raises."""
    total = sum(len(segment.data) for segment in segments)
    check = _Check(loader, part.protection_unit)
    touched = patches(sectors, segments)
    if touched and touched[-1].sector.number > loader.max_page:
        raise BadImage(f"this chip's boot loader can erase no page beyond number {loader.max_page}")
    for group in _groups(touched, loader.max_pages):
        for patch in group:
            _keep(loader, patch, part.cells, log)
        numbers = [patch.sector.number for patch in group]
        with _flash_refusals():
            loader.erase(numbers, _erase_limit_s(group))
        for address, data in _chunks(group, part.cells):
            with _flash_refusals():
                loader.write(address, data)
            check.first_of_unit(address, data)
            progress(_covered(segments, address + len(data)), total)
        progress(_covered(segments, group[-1].sector.end), total)


def _groups(touched: Sequence[Patch], max_pages: int) -> Iterator[list[Patch]]:
    """What is erased and written together: little, so that a lost supply costs little."""
    group: list[Patch] = []
    for patch in touched:
        size = sum(each.sector.region.size for each in group) + patch.sector.region.size
        if group and (size > _GROUP or len(group) == max_pages):
            yield group
            group = []
        group.append(patch)
    if group:
        yield group


def _keep(loader: Loader, patch: Patch, cells: Cells, log: Log) -> None:
    """Take over what the write leaves open in a sector."""
    for gap in patch.gaps:
        data = b"".join(loader.read_surely(piece.address, piece.size) for piece in _pieces(gap))
        patch.fill(gap, data)
        if data.count(cells.erased) != len(data):
            log(f"sector {patch.sector.number}: {gap.size} bytes at {gap.address:#010x} are kept")


def _pieces(region: Region) -> Iterator[Region]:
    for at in range(region.address, region.end, MAX_BLOCK):
        yield Region(at, min(MAX_BLOCK, region.end - at))


def _erase_limit_s(group: Sequence[Patch]) -> float:
    size = sum(patch.sector.region.size for patch in group)
    return min(_ERASE_BASE_S + len(group) * _ERASE_SECTOR_S + size * _ERASE_S_PER_BYTE, _ERASE_AT_MOST_S)


def _chunks(group: Sequence[Patch], cells: Cells) -> Iterator[tuple[int, bytes]]:
    """What one command programs each. Erased ends stay erased: programming 0xFF would use up an ECC's one time."""
    for patch in group:
        size = patch.sector.region.size
        for offset in range(0, size, cells.chunk):
            data = bytes(patch.contents[offset : min(offset + cells.chunk, size)])
            used = len(data.rstrip(bytes([cells.erased])))
            if used:
                yield patch.sector.address + offset, data[: -(-used // cells.unit) * cells.unit]


@contextmanager
def _flash_refusals() -> Iterator[None]:
    try:
        yield
    except Refused as refused:
        if refused.at_command:
            raise
        raise FlashFailed(f"{refused}: a frame that noise has spoilt, or flash that can not be written") from refused


def _covered(segments: Sequence[Segment], until: int) -> int:
    """Bytes of the segments that lie before an address."""
    return sum(min(max(until - segment.address, 0), len(segment.data)) for segment in segments)


class _Check:
    """Reads back the first bytes that went into each unit of write protection."""

    def __init__(self, loader: Loader, unit: int) -> None:
        self._loader = loader
        self._unit = unit
        self._checked: int | None = None

    def first_of_unit(self, address: int, data: bytes) -> None:
        if address // self._unit == self._checked:
            return
        self._checked = address // self._unit
        if not self._loader.holds(address, data):
            raise FlashFailed(
                f"the flash at {address:#010x} does not take what is written: its sector is write-protected, or worn",
                advice="Lift the write protection (option bytes WRP) if it is meant to be written: stm32flash -u PORT.",
            )
