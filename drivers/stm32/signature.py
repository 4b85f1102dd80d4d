"""What a part says of itself in its system memory: unique id and flash size; and the option bits that move sectors."""

from __future__ import annotations

import struct
from collections.abc import Collection
from dataclasses import dataclass, replace

from drivers.base import Region
from drivers.stm32.errors import swapped
from drivers.stm32.loader import Loader
from drivers.stm32.parts import OptionBit, Part, Signature
from drivers.stm32.protocol import NoAnswer, Refused
from drivers.stm32.sectors import FLASH_BASE, Layout

_KIB = 1024
_WORD = 4
_ERASED = b"\xff"
_SIZES_KIB = (2048, 1536, 1024, 768, 512, 384, 256, 192, 128, 64, 32, 16)  # that there are


@dataclass(frozen=True)
class Electronic:
    """`uid`: the 96 bits in the order of their addresses, in hex; empty where they can not be read."""

    uid: str
    flash_size: int


class Silenced(Exception):
    """The boot loader has said nothing more when it was asked for the last word of a flash of `size` bytes."""

    def __init__(self, size: int) -> None:
        super().__init__(f"no answer from the end of {size} bytes of flash on")
        self.size = size


def read(loader: Loader, part: Part, too_large: Collection[int] = ()) -> Electronic:
    """Ask the chip. Some boot loaders refuse these addresses (L4, G4): then there is no unique id, and the
    flash ends where it can not be read any more. `too_large`: sizes that it is known not to have.

    Raises `Silenced` where a boot loader goes down with the bus error instead of refusing.
    """
    memory = {start: _try_read(loader, Region(start, size)) for start, size in _pieces(part.signature)}
    words = [_at(memory, address, 4) for address in part.signature.uid]
    register = _at(memory, part.signature.flash_size, 2)
    size = flash_size(register, part.largest_flash) if register else _readable(loader, part, too_large)
    return Electronic(uid(words), size)


def uid(words: list[bytes]) -> str:
    """Three words, of which one may be missing. Parts without one read as erased. Pure."""
    joined = b"".join(words)
    if len(joined) != 12 or joined in (_ERASED * 12, bytes(12)):
        return ""
    return joined.hex()


def flash_size(register: bytes, largest: int) -> int:
    """The size register's KiB in bytes; what can not be true is answered with the largest. Pure."""
    (kib,) = struct.unpack("<H", register)
    return kib * _KIB if 0 < kib * _KIB <= largest else largest


def _readable(loader: Loader, part: Part, too_large: Collection[int]) -> int:
    for size in (kib * _KIB for kib in _SIZES_KIB if kib * _KIB <= part.largest_flash):
        if size in too_large:
            continue
        if _reaches(loader, size):
            return size
    return part.largest_flash


def _reaches(loader: Loader, size: int) -> bool:
    try:
        return bool(_try_read(loader, Region(FLASH_BASE + size - _WORD, _WORD)))
    except NoAnswer as error:
        raise Silenced(size) from error


def layout(loader: Loader, part: Part, size: int, too_large: Collection[int] = ()) -> Layout:
    """How this very chip's flash is cut: some parts have an option for it. `too_large`: as for `read`.

    There is no hole in a flash that can be read to the end of `size`: that may be all that was found of one which goes
    on behind it, and a G474RB's 128 KiB have been erased through in one bank, whatever the manual's table says.

    Raises `WrongBoard` for swapped banks, `Silenced` as `read` does.
    """
    switch = next((switch for switch in part.switches if size <= switch.largest), None)
    found = switch.layout if switch and _is_set(loader, switch.option) else part.usual_layout(size)
    if found.second_bank is not None and part.swapped and _is_set(loader, part.swapped):
        raise swapped()
    if found.reach(size) < size and size not in too_large and _reaches(loader, size):
        return replace(found, second_at=None)
    return found


def _is_set(loader: Loader, option: OptionBit) -> bool:
    """Whether the bit has its value; False where the boot loader does not let it be read."""
    options = _try_read(loader, Region(option.address, 2))
    return bool(options) and bool(struct.unpack("<H", options)[0] >> option.bit & 1) == option.value


def _pieces(signature: Signature) -> tuple[tuple[int, int], ...]:
    if signature.block:
        return ((signature.flash_size & ~0xFF, signature.block),)
    return ((signature.uid[0], 12), (signature.flash_size, 2))


def _try_read(loader: Loader, region: Region) -> bytes:
    try:
        return loader.read_surely(region.address, region.size)
    except Refused as refused:
        if refused.at_command:  # which it is to read at all: the two are out of step
            raise
        return b""


def _at(memory: dict[int, bytes], address: int, size: int) -> bytes:
    for start, data in memory.items():
        if start <= address and address + size <= start + len(data):
            return data[address - start : address - start + size]
    return b""
