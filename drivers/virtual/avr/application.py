"""What the application in flash prints: read from its contents, since code is not run. Pure.

The bench's convention (docs/families/avr.md): somewhere in the flash stands `BENCHAPP:`, then the text that the sketch
prints at its start, up to a zero byte. The bench's own firmware writes `BENCHAPP/SSSSSSSS/CCCCCCCC:`, its size and
CRC-32 in hex (from address 0 on, computed with zeros in the CRC's place), so that half of it does not run.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

_MARKER = re.compile(rb"BENCHAPP(?:/(?P<size>[0-9a-f]{8})/(?P<crc>[0-9a-f]{8}))?:(?P<text>[^\0\xff]{1,200})\0")
_JUMPS = ((0xFE0E, 0x940C), (0xF000, 0xC000))  # mask and opcode of jmp and rjmp (AVR Instruction Set Manual)


@dataclass(frozen=True)
class Application:
    """What it prints; `answers` is whether it is the bench's own, which has a console."""

    banner: bytes
    answers: bool

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(self.banner.decode("ascii", "replace").split())

    @property
    def version(self) -> str:
        """The first word that begins with a digit."""
        return next((word for word in self.words if word[0].isdigit()), "unknown")


def find(flash: bytes) -> Application | None:
    """The application that runs from address 0 on; None for one that says nothing, or is not whole."""
    if not _begins_with_jump(flash):
        return None
    for found in _MARKER.finditer(flash):
        if found["size"] is None:
            return Application(found["text"], answers=False)
        if _is_whole(flash, found):
            return Application(found["text"], answers=True)
    return None


def is_foreign(flash: bytes) -> bool:
    """Whether it is an application that says nothing of itself: it may run all the same."""
    return _begins_with_jump(flash) and _MARKER.search(flash) is None


def _begins_with_jump(flash: bytes) -> bool:
    first = int.from_bytes(flash[:2], "little")
    return any(first & mask == opcode for mask, opcode in _JUMPS)


def _is_whole(flash: bytes, found: re.Match[bytes]) -> bool:
    size, crc = int(found["size"], 16), int(found["crc"], 16)
    start, end = found.span("crc")
    return end < size <= len(flash) and zlib.crc32(flash[:start] + b"00000000" + flash[end:size]) == crc
