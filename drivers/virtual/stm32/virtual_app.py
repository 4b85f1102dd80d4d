"""What the bench's firmware tells the bench about itself: a line of text anywhere in the image. Pure.

    BENCHAPP <project> <version> [size=<bytes> crc=<hex>] [abort]\\0

Code is not executed: this line is all that the bench knows of an image, and it prints project and version as the
application would. With `size` and `crc` (CRC-32) the bytes behind the line must be there too, else the program crashes
before it says a word. Real firmware lacks the line; it starts, and runs in silence.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

_LINE = re.compile(rb"BENCHAPP ([!-~]{1,31}) ([!-~]{1,31})(?: size=([0-9]{1,7}) crc=([0-9a-f]{8}))?( abort)?\0")


@dataclass(frozen=True)
class VirtualApp:
    project: str
    version: str
    aborts: bool = False
    is_whole: bool = True

    def line(self, body: bytes) -> bytes:
        """The line as it stands in the firmware, before its `body`."""
        end = b" abort\0" if self.aborts else b"\0"
        return (
            f"BENCHAPP {self.project} {self.version} size={len(body)} crc={zlib.crc32(body):08x}".encode("ascii") + end
        )


def find(memory: bytes) -> VirtualApp | None:
    """The first line in what begins at a program's vector table; None where there is none."""
    found = _LINE.search(memory)
    if found is None:
        return None
    project, version, size, crc, aborts = found.groups()
    is_whole = True
    if size is not None:
        body = memory[found.end() : found.end() + int(size)]
        is_whole = len(body) == int(size) and zlib.crc32(body) == int(crc, 16)
    return VirtualApp(project.decode(), version.decode(), aborts is not None, is_whole)
