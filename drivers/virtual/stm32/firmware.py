"""Builds firmware for the virtual boards: a vector table that starts, the line that names it, and bytes that look like
code. Always the same bytes, without any tool.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator

from drivers.virtual.stm32.chips import FLASH_BASE
from drivers.virtual.stm32.virtual_app import VirtualApp

PROJECT, INSTALLED, NEXT, BROKEN = "demo", "1.1.0", "1.2.0", "1.3.0"
DEFAULT_SIZE = 24 * 1024
_STACK = 0x20002000  # inside of every chip's RAM
_VECTORS = 48
_CODE_AT = 0x200  # of the image
_WORDS = b"uart adc timer sensor update error timeout config connected reading value status ok "


def build(project: str, version: str, size: int = DEFAULT_SIZE, *, at: int = FLASH_BASE, aborts: bool = False) -> bytes:
    """An image of `size` bytes (0x400 at least) that is linked to start at an address of the flash."""
    vectors = struct.pack("<II", _STACK, (at + _CODE_AT) | 1)
    vectors += struct.pack("<I", (at + _CODE_AT + 4) | 1) * (_VECTORS - 2)
    head = vectors.ljust(_CODE_AT, b"\0") + b"\xfe\xe7" * 8  # an endless loop, where a real one would begin
    app = VirtualApp(project, version, aborts)
    room = size - len(head) - len(app.line(b"")) - len(str(size))
    body = _filling(f"{project} {version}", room)
    return (head + app.line(body) + body).ljust(size, b"\0")


def factory_image() -> bytes:
    """What a board has in its flash that nobody has flashed yet."""
    return build("factory", "0.0.0", 8 * 1024)


def to_hex(data: bytes, address: int) -> bytes:
    """Intel HEX (revision A, 1988): extended linear addresses, 16 bytes a record."""
    lines: list[str] = []
    upper = None
    for at in range(0, len(data), 16):
        if (address + at) >> 16 != upper:
            upper = (address + at) >> 16
            lines.append(_record(0, 0x04, upper.to_bytes(2, "big")))
        lines.append(_record((address + at) & 0xFFFF, 0x00, data[at : at + 16]))
    lines.append(_record(0, 0x05, (address + _CODE_AT).to_bytes(4, "big")))
    return "".join(f"{line}\r\n" for line in [*lines, _record(0, 0x01, b"")]).encode("ascii")


def demo_files() -> Iterator[tuple[str, bytes]]:
    """The demonstration's files by name: a flash's contents from its beginning on, and an update as .bin and .hex."""
    update = build(PROJECT, NEXT)
    yield f"demo-stm32-{INSTALLED}.factory.bin", build(PROJECT, INSTALLED)
    yield f"demo-stm32-{NEXT}.bin", update
    yield f"demo-stm32-{NEXT}.hex", to_hex(update, FLASH_BASE)
    # Every check of a file passes, the board starts it, and it crashes: what only a boot test finds.
    yield f"demo-stm32-{BROKEN}-noboot.bin", build(PROJECT, BROKEN, aborts=True)


def _record(offset: int, kind: int, data: bytes) -> str:
    body = struct.pack(">BHB", len(data), offset, kind) + data
    return f":{(body + bytes([-sum(body) & 0xFF])).hex().upper()}"


def _filling(name: str, size: int) -> bytes:
    """Half of it noise, half of it text."""
    noise = hashlib.shake_256(name.encode()).digest(size // 2)
    return noise + (_WORDS * (size // len(_WORDS) + 1))[: size - len(noise)]
