"""What the bench's own firmware tells the bench about itself: a block of data behind its description. Pure.

Real firmware lacks it; the board then takes it to start, and to print what ESP-IDF prints.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum

from drivers.virtual.esp.image import Read

_MAGIC = b"BENCHAPP"
_BLOCK = struct.Struct("<8sIIII")
SIZE = _BLOCK.size


class Behaviour(IntEnum):
    """What the firmware does after its start."""

    RUN = 0
    ABORT = 1  # calls abort() in app_main, again and again


@dataclass(frozen=True)
class VirtualApp:
    """Its behaviour, and the code outside of the image that it needs (ESP8266: the mapped part, without a checksum)."""

    behaviour: Behaviour = Behaviour.RUN
    code_at: int = 0
    code_size: int = 0
    code_crc: int = 0

    def packed(self) -> bytes:
        """The block as it stands in the firmware."""
        return _BLOCK.pack(_MAGIC, self.behaviour, self.code_at, self.code_size, self.code_crc)

    def has_its_code(self, read: Read) -> bool:
        """Whether the code that it needs is in flash."""
        return zlib.crc32(read(self.code_at, self.code_size)) == self.code_crc


def parse(data: bytes) -> VirtualApp:
    """The block that the data begins with; the plain one for firmware that has none."""
    if len(data) < SIZE or not data.startswith(_MAGIC):
        return VirtualApp()
    _, behaviour, at, size, crc = _BLOCK.unpack_from(data)
    if behaviour not in set(Behaviour) or size > 1 << 24:
        return VirtualApp()
    return VirtualApp(Behaviour(behaviour), at, size, crc)
