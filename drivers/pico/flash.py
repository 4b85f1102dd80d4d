"""What to do to a flash that can be read back, so that it holds some segments: pure but for the reading.

Only sectors that differ are touched; the rest of a sector that a segment covers in part stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from drivers.base import Segment
from drivers.pico.image import FLASH_BASE, PAGE
from drivers.pico.uf2 import SECTOR

_ERASED_PAGE = b"\xff" * PAGE
_WINDOW = 512  # bytes that are compared, as picotool's two pages
_TELLING_BYTES = 32  # different ones, in what can hardly be there twice
_SEARCHED, _SEARCH_STEP = 1 << 20, 0x8000


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


def programmable(sector: bytes, last: int | None) -> Iterator[tuple[int, bytes]]:
    """The runs of pages that are not erased: offsets and bytes; the page at the offset `last` after all others."""
    if last is not None:
        yield from programmable(sector[:last] + _ERASED_PAGE + sector[last + PAGE :], None)
        yield last, sector[last : last + PAGE]
        return
    start, run = 0, b""
    for at in range(0, len(sector), PAGE):
        page = sector[at : at + PAGE]
        if page == _ERASED_PAGE:
            if run:
                yield start, run
            run = b""
            continue
        if not run:
            start = at
        run += page
    if run:
        yield start, run


def flash_size(read: Callable[[int, int], bytes]) -> int | None:
    """The size, by where the flash begins to repeat itself; None for one that is too empty to tell.

    As picotool's `guess_flash_size`: neither the ROM nor PICOBOOT tells it, and addresses beyond it wrap. picotool
    compares the first two pages; this the first two that tell anything, since a write that was cut short leaves the
    first sector erased. `read` gives nothing where nobody may read: RP2350's ROM refuses what lies beyond the size in
    its OTP (FLASH_DEVINFO), where that is set.
    """
    place = _telling_place(read)
    if place is None:
        return None
    wanted = read(place, _WINDOW)
    size = 8 << 20
    while size > place - FLASH_BASE and size >= SECTOR and read(place + size, _WINDOW) in (wanted, b""):
        size >>= 1
    return size * 2


def _telling_place(read: Callable[[int, int], bytes]) -> int | None:
    for start in range(FLASH_BASE, FLASH_BASE + _SEARCHED, _SEARCH_STEP):
        data = read(start, _SEARCH_STEP)
        for at in range(0, len(data) - _WINDOW + 1, _WINDOW):
            if len(set(data[at : at + _WINDOW])) > _TELLING_BYTES:
                return start + at
    return None
