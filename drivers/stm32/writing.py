"""Writing: erase what is touched and nothing else, keep what is only touched, and see that the flash takes it.

A sector of an F4 has up to 128 KiB, one of an F7 256 KiB. What a write leaves open in a sector is read before the
erase and written back after it, so that a settings page or a second image behind the firmware survives.

Boot loaders answer ACK although the flash refused (AN3155, 3.6 and 3.7: "no error is returned when performing … on
write-protected sectors"; ST's open boot loader ignores the flash's errors altogether). So the first bytes of each unit
that can be protected by itself are read back at once; the rest is for whoever verifies.

Where manuals number the sectors of a second bank otherwise than one after the other, nobody has said which of the two a
boot loader means (ST's open one for the G0C1 counts on, whatever RM0444 says): the first such erase is a trial of one
and then the other, and what it erases instead is written back.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

from drivers.base import BadImage, FlashFailed, Log, Progress, Region, Segment
from drivers.stm32.loader import Loader
from drivers.stm32.parts import Cells, Part
from drivers.stm32.protocol import MAX_BLOCK, Refused
from drivers.stm32.sectors import Doubt, Patch, Sector, doubts, patches

Held = dict[Sector, bytes]  # what a trial may have erased in the place of its sector, from before it

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
    held: Held,
) -> None:
    """Make the flash hold the segments. Raises `BadImage`, `FlashFailed`, and what the loader raises.

    What is in `held` after an error is for `put_back`, as soon as the boot loader answers again.
    """
    total = sum(len(segment.data) for segment in segments)
    check = _Check(loader, part.protection_unit)
    touched = patches(sectors, segments)
    if touched and touched[-1].sector.number > loader.max_page:
        raise BadImage(f"this chip's boot loader can erase no page beyond number {loader.max_page}")
    doubtful = doubts(sectors)
    trial = next((p for p in touched if p.sector in doubtful and not _is_blank(loader, p.sector, part.cells)), None)
    numbers = {sector: sector.number for sector in sectors}
    done = 0
    for group in _groups(touched, trial, 1 if part.erase_pause_s else loader.max_pages):
        for patch in group:
            _keep(loader, patch, part.cells, log)
        if trial in group:
            if _erase_on_trial(loader, part, trial.sector, doubtful[trial.sector], held) != trial.sector.number:
                numbers |= {sector: doubt.counted for sector, doubt in doubtful.items()}
        else:  # where there is no trial, the doubtful ones are blank
            erased = [patch.sector for patch in group if trial or patch.sector not in doubtful]
            with _flash_refusals():
                _erase(loader, part, erased, [numbers[sector] for sector in erased])
        for patch in group:
            for address, data in _chunks(patch, part.cells):
                with _flash_refusals():
                    loader.write(address, data)
                check.first_of_unit(address, data)
                progress(done + patch.covered_before(address + len(data)), total)
            done += patch.covered_before(patch.sector.end)
            progress(done, total)


def _groups(touched: Sequence[Patch], trial: Patch | None, max_pages: int) -> Iterator[list[Patch]]:
    """What is erased and written together: little, so that a lost supply costs little. The trial comes first, alone."""
    if trial:
        yield [trial]
    group: list[Patch] = []
    for patch in (patch for patch in touched if patch is not trial):
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
        data = _read(loader, gap)
        patch.fill(gap, data)
        if data.count(cells.erased) != len(data):
            log(f"sector {patch.sector.number}: {gap.size} bytes at {gap.address:#010x} are kept")


def _read(loader: Loader, region: Region) -> bytes:
    return b"".join(_pieces(loader, region))


def _pieces(loader: Loader, region: Region) -> Iterator[bytes]:
    for at in range(region.address, region.end, MAX_BLOCK):
        yield loader.read_surely(at, min(MAX_BLOCK, region.end - at))


def _holds(loader: Loader, sector: Sector, data: bytes) -> bool:
    pieces = range(0, len(data), MAX_BLOCK)
    return all(loader.holds(sector.address + at, data[at : at + MAX_BLOCK]) for at in pieces)


def _is_blank(loader: Loader, sector: Sector, cells: Cells) -> bool:
    return all(not data.strip(bytes([cells.erased])) for data in _pieces(loader, sector.region))


def _erase(loader: Loader, part: Part, sectors: Collection[Sector], numbers: Sequence[int]) -> None:
    if numbers:
        loader.erase(numbers, _erase_limit_s(sectors))
        time.sleep(part.erase_pause_s)


def _erase_on_trial(loader: Loader, part: Part, sector: Sector, doubt: Doubt, held: Held) -> int:
    """Erase a sector in whose place the boot loader might take one of the others: those are as before in any case.

    Returns the number by which it was erased.
    """
    held.update({other: _read(loader, other.region) for other in doubt.others})
    for number in (sector.number, doubt.counted):
        try:
            _erase(loader, part, [sector], [number])
        except Refused as refused:  # as a number that means nothing
            if refused.at_command:
                raise
        taken = [f"{other.address:#010x}" for other, data in held.items() if not _holds(loader, other, data)]
        if taken:
            put_back(loader, part, held)
            raise _miscounted(sector, f"by {number} it erases what is at {taken[0]}, which was written back")
        if _is_blank(loader, sector, part.cells):
            held.clear()
            return number
    held.clear()
    raise _miscounted(sector, f"nothing is erased there, by {doubt.counted} neither")


def put_back(loader: Loader, part: Part, held: Held) -> None:
    """Undo what a trial has erased in the place of its sector, also one that was cut short: `held` is empty then."""
    for sector, data in list(held.items()):
        for address, piece in _chunks(Patch(sector, bytearray(data), ()), part.cells):
            if not loader.holds(address, piece):
                with _flash_refusals():
                    loader.write(address, piece)
        if not _holds(loader, sector, data):
            raise FlashFailed(
                f"the boot loader has erased the {sector.region.size} bytes at {sector.address:#010x} in the place of "
                "others, and they can not be written back",
                advice="Write them again by the chip's debug port: a backup of `backup_scope: flash` has them.",
            )
        del held[sector]


def _miscounted(meant: Sector, found: str) -> FlashFailed:
    return FlashFailed(
        f"the boot loader does not erase the sector at {meant.address:#010x} by its number {meant.number}: {found}",
        advice="The flash is as it was. Unless the sector is write-protected, this boot loader counts in a way of its "
        "own: make one bank of the two (option DUAL_BANK, DUALBANK, DB1M or nDBANK), or write the firmware "
        "through the chip's debug port.",
    )


def _erase_limit_s(sectors: Collection[Sector]) -> float:
    size = sum(sector.region.size for sector in sectors)
    return min(_ERASE_BASE_S + len(sectors) * _ERASE_SECTOR_S + size * _ERASE_S_PER_BYTE, _ERASE_AT_MOST_S)


def _chunks(patch: Patch, cells: Cells) -> Iterator[tuple[int, bytes]]:
    """What one command programs each. Erased ends stay erased: programming 0xFF would use up an ECC's one time."""
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
