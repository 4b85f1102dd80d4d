"""How a part's flash is cut into what one erase erases, and which of it a write touches. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from drivers.base import BadImage, Region, Segment

FLASH_BASE = 0x08000000
_K = 1024


@dataclass(frozen=True)
class Sector:
    """One erase unit ("page" on the parts where all are equal); `number` is what the boot loader calls it."""

    number: int
    region: Region

    @property
    def address(self) -> int:
        return self.region.address

    @property
    def end(self) -> int:
        return self.region.end


@dataclass(frozen=True)
class Layout:
    """Sizes of the sectors of a bank from its beginning; the last one repeats. With two banks, the second half of the
    flash begins anew, and its sectors are numbered from `second_bank` on.

    `second_at`: the second bank begins so many bytes behind the first one, however large they are.
    """

    sizes: tuple[int, ...]
    second_bank: int | None = None
    second_at: int | None = None

    def reach(self, flash_size: int) -> int:
        """Bytes from the flash's beginning to its first hole: all of it, or the first of two banks that lie apart."""
        if self.second_at is None or flash_size >= 2 * self.second_at:
            return flash_size
        return min(flash_size, self.second_at) // 2

    def sectors(self, flash_size: int) -> tuple[Sector, ...]:
        """All sectors of a flash of so many bytes, up to its first hole."""
        if self.second_bank is None:
            return tuple(self._bank(0, self.reach(flash_size), 0))
        half = flash_size // 2
        return (*self._bank(0, half, 0), *self._bank(half, half, self.second_bank))

    def _bank(self, offset: int, size: int, first: int) -> Iterable[Sector]:
        at = number = 0
        while at < size:
            length = self.sizes[min(number, len(self.sizes) - 1)]
            yield Sector(first + number, Region(FLASH_BASE + offset + at, length))
            at += length
            number += 1


def pages(size: int) -> Layout:
    return Layout((size,))


SECTORS_16K = Layout((16 * _K,) * 4 + (64 * _K, 128 * _K))  # F2, F4, F72x (RM0090 table 5)
SECTORS_16K_DUAL = Layout(SECTORS_16K.sizes, second_bank=12)  # F42x, F43x, F469 (RM0090 table 6), F76x with nDBANK = 0
SECTORS_32K = Layout((32 * _K,) * 4 + (128 * _K, 256 * _K))  # F74x, F76x (RM0385 table 3)


@dataclass(frozen=True)
class Doubt:
    """`counted`: the number of a sector where all are counted one after the other. `others`: what a boot loader that
    counts in another way could take for either of its two numbers.
    """

    counted: int
    others: tuple[Sector, ...]


def doubts(sectors: Sequence[Sector]) -> dict[Sector, Doubt]:
    """Of the sectors that the manual numbers otherwise than one after the other."""
    half = len(sectors) // 2
    by_number = {sector.number: sector for sector in sectors}
    found: dict[Sector, Doubt] = {}
    for index, sector in enumerate(sectors):
        if sector.number != index:
            others = (sectors[index - half], *sectors[sector.number : sector.number + 1], by_number.get(index, sector))
            found[sector] = Doubt(index, tuple(other for other in dict.fromkeys(others) if other != sector))
    return found


@dataclass(frozen=True)
class Patch:
    """A sector and what a write puts into it; `covered` is where, as ranges of offsets in order."""

    sector: Sector
    contents: bytearray
    covered: tuple[range, ...]

    @property
    def gaps(self) -> tuple[Region, ...]:
        """What the write leaves open in the sector: it is erased with the rest, and would be lost."""
        gaps: list[Region] = []
        at = 0
        for part in (*self.covered, range(self.sector.region.size, self.sector.region.size)):
            if part.start > at:
                gaps.append(Region(self.sector.address + at, part.start - at))
            at = max(at, part.stop)
        return tuple(gaps)

    def covered_before(self, address: int) -> int:
        """Bytes that the write puts into the sector before an address."""
        offset = address - self.sector.address
        return sum(min(max(offset - part.start, 0), len(part)) for part in self.covered)

    def fill(self, gap: Region, data: bytes) -> None:
        """Put what was there back into a gap."""
        at = gap.address - self.sector.address
        self.contents[at : at + len(data)] = data


def patches(sectors: Sequence[Sector], segments: Sequence[Segment]) -> tuple[Patch, ...]:
    """The sectors that the segments touch, in order. Raises `BadImage` for bytes outside of the flash."""
    end = sectors[-1].end
    for segment in segments:
        if segment.address < sectors[0].address or segment.region.end > end:
            raise BadImage(
                f"{len(segment.data)} bytes at {segment.address:#010x} lie outside of this chip's flash, "
                f"{sectors[0].address:#010x} to {end:#010x}"
            )
    return tuple(patch for sector in sectors if (patch := _patch(sector, segments)).covered)


def _patch(sector: Sector, segments: Sequence[Segment]) -> Patch:
    contents = bytearray(b"\xff" * sector.region.size)
    covered: list[range] = []
    for segment in segments:
        start = max(segment.address, sector.address)
        stop = min(segment.region.end, sector.end)
        if start < stop:
            contents[start - sector.address : stop - sector.address] = segment.data[
                start - segment.address : stop - segment.address
            ]
            covered.append(range(start - sector.address, stop - sector.address))
    return Patch(sector, contents, tuple(sorted(covered, key=lambda part: part.start)))
