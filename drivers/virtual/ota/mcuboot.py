"""MCUboot with swap: which image runs after a reset, by the trailers at the two slots' ends.

Source: MCUboot docs/design.md ("Image Trailer", "IMAGE TRAILERS", "Image Swapping") and `bootutil_public.c`. What a cut
in the middle of a swap leaves is finished by the next boot, as the swap status in a real trailer makes it.

trailer, from the slot's end: magic (16) | image_ok (8) | copy_done (8) | swap_info (8) | …
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from drivers.virtual import flash
from drivers.virtual.flash import SECTOR
from drivers.virtual.ota import mcuboot_image
from drivers.virtual.ota.slots import Slots

_MAGIC = bytes.fromhex("77c295f360d2ef7f3552500f2cb67980")
_ALIGN = 8  # BOOT_MAX_ALIGN
TRAILER = SECTOR  # the sector of the trailer is no image's
MAGIC_AT = len(_MAGIC)
OK_AT = MAGIC_AT + _ALIGN
DONE_AT = OK_AT + _ALIGN
INFO_AT = DONE_AT + _ALIGN
_SET = b"\x01"
PRIMARY, SECONDARY = 0, 1


class Swap(Enum):
    """BOOT_SWAP_TYPE_…; the values are those of the trailer's swap_info."""

    NONE = 1
    TEST = 2
    PERM = 3
    REVERT = 4


class Flag(Enum):
    """BOOT_FLAG_… and BOOT_MAGIC_…"""

    UNSET = "unset"
    GOOD = "good"
    BAD = "bad"


@dataclass(frozen=True)
class Trailer:
    """What is in the trailer of one slot."""

    magic: Flag
    image_ok: Flag
    copy_done: Flag


class Bootloader:
    """MCUboot over two slots. `scratch`: the file in which a swap is, until it is done.

    `overwrites`: built with MCUBOOT_OVERWRITE_ONLY, it copies the new image over the old one, and never goes back.
    """

    def __init__(self, slots: Slots, scratch: Path, *, overwrites: bool = False) -> None:
        self._overwrites = overwrites
        self._slots = slots
        self._scratch = scratch
        self.size = slots.size
        self.swapped = 0
        """Bytes that the last boot has swapped: as much as the larger of the two images has."""

    def contents(self, slot: int) -> bytes:
        """The slot without its trailer."""
        return self._slots.read(slot, 0, self.size - TRAILER)

    def trailer(self, slot: int) -> Trailer:
        magic = self._slots.read(slot, self.size - MAGIC_AT, len(_MAGIC))
        return Trailer(_flag(magic, _MAGIC), self._flag_at(slot, OK_AT), self._flag_at(slot, DONE_AT))

    def _flag_at(self, slot: int, offset: int) -> Flag:
        return _flag(self._slots.read(slot, self.size - offset, 1), _SET)

    def swap_type(self) -> Swap:
        """What the next boot will do (`boot_swap_type_multi`)."""
        first, second = self.trailer(PRIMARY), self.trailer(SECONDARY)
        if second.magic is Flag.GOOD and second.image_ok is Flag.UNSET:
            return Swap.TEST
        if second.magic is Flag.GOOD and second.image_ok is Flag.GOOD:
            return Swap.PERM
        reverts = first.magic is Flag.GOOD and first.image_ok is Flag.UNSET and first.copy_done is Flag.GOOD
        return Swap.REVERT if reverts and second.magic is Flag.UNSET else Swap.NONE

    def boot(self) -> bytes | None:
        """A reset: what MCUboot does; the image that it starts, None where it finds none and hangs."""
        self.swapped = 0
        self._finish_swap()
        swap = self.swap_type()
        if swap is not Swap.NONE:
            self._swap_if_valid(swap)
        started = self.contents(PRIMARY)
        return started if mcuboot_image.is_valid(started) else None

    def _swap_if_valid(self, swap: Swap) -> None:
        if not mcuboot_image.is_valid(self.contents(SECONDARY)):
            # "Image in the secondary slot is invalid. Erase the image and continue booting from the primary slot."
            self._slots.cells[SECONDARY].erase(0, self.size)
            self._mark(PRIMARY, OK_AT, _SET)
            return
        first = self.contents(SECONDARY) + _trailer_after(swap)
        second = self.contents(PRIMARY) + b"\xff" * TRAILER
        if self._overwrites:
            first, second = self.contents(SECONDARY) + b"\xff" * TRAILER, b"\xff" * self.size
        self.swapped = max(len(contents.rstrip(b"\xff")) for contents in (first[:-TRAILER], second[:-TRAILER]))
        flash.create(self._scratch, 2 * self.size, first + second)
        self._finish_swap()

    def _finish_swap(self) -> None:
        if not self._scratch.exists():
            return
        wanted = self._scratch.read_bytes()
        for slot, cells in enumerate(self._slots.cells):
            cells.erase(0, self.size)
            cells.program(0, wanted[slot * self.size : (slot + 1) * self.size])
        self._scratch.unlink()

    def _mark(self, slot: int, offset: int, value: bytes) -> None:
        self._slots.cells[slot].program(self.size - offset, value)

    def pending_marks(self, *, permanent: bool) -> list[tuple[int, bytes]]:
        """(address, bytes) to program into the secondary slot, in order (`boot_set_pending_multi`)."""
        info = Swap.PERM if permanent else Swap.TEST
        marks = [(self.size - MAGIC_AT, _MAGIC)]
        if permanent:
            marks.append((self.size - OK_AT, _SET))
        return [*marks, (self.size - INFO_AT, bytes([info.value]))]

    def ok_mark(self) -> tuple[int, bytes]:
        """(address, bytes) that confirm the image in the primary slot (`boot_write_image_ok`)."""
        return self.size - OK_AT, _SET


def _trailer_after(swap: Swap) -> bytes:
    """The primary slot's trailer after a swap; after a test, image_ok waits for the application's confirmation."""
    trailer = bytearray(b"\xff" * TRAILER)
    fields = [(MAGIC_AT, _MAGIC), (DONE_AT, _SET), (INFO_AT, bytes([swap.value]))]
    if swap is not Swap.TEST:
        fields.append((OK_AT, _SET))
    for offset, value in fields:
        at = TRAILER - offset
        trailer[at : at + len(value)] = value
    return bytes(trailer)


def _flag(found: bytes, good: bytes) -> Flag:
    if found == good:
        return Flag.GOOD
    return Flag.UNSET if found == b"\xff" * len(found) else Flag.BAD
