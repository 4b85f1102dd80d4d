"""Downloads in progress: what FLASH_BEGIN, FLASH_DEFL_BEGIN and MEM_BEGIN open, and their data commands fill. Pure."""

from __future__ import annotations

import zlib
from dataclasses import dataclass


@dataclass
class Download:
    """Blocks that are still to come, and where the next byte goes."""

    address: int
    end: int
    blocks_left: int
    block_size: int
    sequence: int = 0

    def took(self, size: int) -> None:
        """A block was taken."""
        self.address += size
        self.blocks_left -= 1
        self.sequence += 1


class Inflater:
    """A zlib stream that arrives in blocks and is unpacked no further than `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self._stream = zlib.decompressobj()
        self._room = limit

    @property
    def complete(self) -> bool:
        """Whether the stream's end was seen, with a right checksum."""
        return self._stream.eof

    def feed(self, data: bytes) -> bytes | None:
        """The next unpacked bytes; None for what is no zlib stream, or unpacks to more than there is room for."""
        try:
            unpacked = self._stream.decompress(data, self._room + 1)
        except zlib.error:
            return None
        if len(unpacked) > self._room:
            return None
        self._room -= len(unpacked)
        return unpacked
