"""Firmware for the virtual AVR boards, always the same bytes; real chips would find code in it that waits for ever."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator

_VECTORS = 26  # the ATmega328P's; each a jmp of four bytes
_RJMP_SELF = b"\xff\xcf"
_USUAL_SIZE = 6000  # bytes; a small sketch
_INSTALLED, _NEXT = "1.1.0", "1.2.0"
_BYTES_PER_RECORD = 16


def build(project: str, version: str, size: int = _USUAL_SIZE) -> bytes:
    """An application that prints `<project> <version> ready`: vectors, a loop, filler, and what the bench reads."""
    start = _VECTORS * 4
    jump = (0x940C).to_bytes(2, "little") + (start // 2).to_bytes(2, "little")
    code = jump * _VECTORS + _RJMP_SELF
    marker = f"BENCHAPP/{size:08x}/00000000:{project} {version} ready\r\n\0".encode()
    seed = f"{project} {version}"
    filler = random.Random(seed).randbytes(size - len(code) - len(marker))  # noqa: S311 - stands for code
    image = code + filler.replace(b"BENCHAPP", bytes(8)) + marker
    return image.replace(b"/00000000:", f"/{zlib.crc32(image):08x}:".encode())


def factory() -> bytes:
    """What a new board holds."""
    return build("factory", "0.0.0", 2000)


def demo_files() -> Iterator[tuple[str, bytes]]:
    """The demonstration's files: what the boards hold, and what they are to be given."""
    for board, size in (("arduino", _USUAL_SIZE), ("mega2560", 10 * _USUAL_SIZE)):
        yield f"demo-{board}-{_INSTALLED}.factory.bin", build("demo", _INSTALLED, size)
        yield f"demo-{board}-{_NEXT}.hex", intel_hex(build("demo", _NEXT, size))


def intel_hex(data: bytes) -> bytes:
    """As an Intel HEX file from address 0 on (I8HEX, I16HEX with extended segment addresses beyond 64 KiB)."""
    lines = []
    for at in range(0, len(data), _BYTES_PER_RECORD):
        if at and at % 0x10000 == 0:
            lines.append(_record(0, 2, (at >> 4).to_bytes(2, "big")))
        lines.append(_record(at & 0xFFFF, 0, data[at : at + _BYTES_PER_RECORD]))
    return "".join(f"{line}\n" for line in (*lines, ":00000001FF")).encode()


def _record(address: int, kind: int, data: bytes) -> str:
    body = bytes([len(data)]) + address.to_bytes(2, "big") + bytes([kind]) + data
    return f":{body.hex().upper()}{-sum(body) & 0xFF:02X}"
