"""What to do to a flash that can be read back, so that it holds some segments: pure but for the reading.

Only sectors that differ are touched; the rest of a sector that a segment covers in part stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from drivers.base import Segment
from drivers.pico_image import FLASH_BASE
from drivers.pico_uf2 import SECTOR


def sectors(segments: Sequence[Segment]) -> list[int]:
    """The addresses of the sectors that the segments touch, the one that the ROM starts from last.

    While that one is erased, the ROM finds nothing to start and stays in its boot loader: a write that is cut short
    leaves a board that can be reached without a hand at it.
    """
    touched = {
        address
        for segment in segments
        for address in range(segment.address - segment.address % SECTOR, segment.region.end, SECTOR)
    }
    return sorted(touched, key=lambda address: (address == FLASH_BASE, address))


def merged(address: int, current: bytes, segments: Sequence[Segment]) -> bytes:
    """One sector as it should be."""
    sector = bytearray(current)
    for segment in segments:
        first, last = max(address, segment.address), min(address + SECTOR, segment.region.end)
        if first < last:
            sector[first - address : last - address] = segment.data[first - segment.address : last - segment.address]
    return bytes(sector)


def flash_size(read: Callable[[int, int], bytes]) -> int | None:
    """The size, by where the flash begins to repeat itself; None for one that is too empty to tell.

    As picotool's `guess_flash_size`: neither the ROM nor PICOBOOT tells the size, and addresses beyond it wrap.
    """
    first = read(FLASH_BASE, 512)
    if first[:256] == first[256:]:
        return None
    size = 8 << 20
    while size >= SECTOR and read(FLASH_BASE + size, 512) == first:
        size >>= 1
    return size * 2
