"""Firmware images for the virtual boards: what a pico-sdk program looks like to a boot ROM and to picotool.

A second stage with its checksum (RP2040) or an IMAGE_DEF (RP2350), vectors, and binary info with name and version; the
code is random, always the same bytes, and is not executed.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

from drivers.virtual.pico.chips import FLASH_BASE, RP2040, RP2350, Chip
from drivers.virtual.pico.program import BENCH_BLOCK_SIZE, BOOT2_SIZE, Behaviour, bench_block, crc32

PROJECT = "demo"
INSTALLED, NEXT = "1.1.0", "1.2.0"
_VECTORS = 0xC0
_INFO_AT = 0x200
_CODE_AT = 0x400
_CODE_SIZE = 0x7000
_STACK_TOP = {"rp2040": 0x2004_2000, "rp2350": 0x2008_2000}
_IMAGE_DEF = struct.pack("<5I", 0xFFFFDED3, 0x10210142, 0x000001FF, 0, 0xAB123579)  # RP2350 datasheet 5.9.5.1
_NAME, _VERSION, _URL = 0x02031C86, 0x11A9BC3A, 0x1856239A
_TEXT_ENTRY = (6, 0x5052)
_FAMILIES = {"rp2040": 0xE48BFF56, "rp2350": 0xE48BFF59}


def build_app(
    chip: Chip, name: str, version: str, *, behaviour: Behaviour = Behaviour.RUN, code_size: int = _CODE_SIZE
) -> bytes:
    """An image of the flash from its beginning on."""
    code = random.Random(f"{name} {version}").randbytes(code_size)  # noqa: S311 - code, not a secret
    image = bytearray(b"\0" * _CODE_AT) + code
    start = BOOT2_SIZE if chip is RP2040 else 0
    if chip is RP2040:
        boot2 = random.Random("boot2").randbytes(BOOT2_SIZE - 4)  # noqa: S311
        image[:BOOT2_SIZE] = boot2 + struct.pack("<I", crc32(boot2))
    image[start : start + 8] = struct.pack("<II", _STACK_TOP[chip.name], FLASH_BASE + _CODE_AT | 1)
    if chip is not RP2040:
        image[start + _VECTORS : start + _VECTORS + len(_IMAGE_DEF)] = _IMAGE_DEF
    info = _binary_info(name, version, behaviour, code)
    image[_INFO_AT : _INFO_AT + len(info)] = info
    return bytes(image)


def _binary_info(name: str, version: str, behaviour: Behaviour, code: bytes) -> bytes:
    """Header, pointers, the bench's own block, entries and their texts."""
    texts = [(_NAME, name), (_VERSION, version), (_URL, "https://example.com/demo")]
    base = FLASH_BASE + _INFO_AT
    pointers = base + 20
    entries = pointers + 4 * len(texts) + BENCH_BLOCK_SIZE
    strings = entries + 12 * len(texts)
    header = struct.pack("<5I", 0x7188EBF2, pointers, pointers + 4 * len(texts), FLASH_BASE + 0xF0, 0xE71AA390)
    block = bench_block(behaviour, FLASH_BASE + _CODE_AT, code)
    packed, at = bytearray(), strings
    for number, text in texts:
        packed += struct.pack("<HHII", *_TEXT_ENTRY, number, at)
        at += len(text.encode()) + 1
    listed = struct.pack(f"<{len(texts)}I", *(entries + 12 * index for index in range(len(texts))))
    info = header + listed + block + packed + b"".join(text.encode() + b"\0" for _, text in texts)
    if len(info) > _CODE_AT - _INFO_AT:
        raise ValueError("name and version are too long")
    return info


def to_uf2(image: bytes, chip: Chip) -> bytes:
    """The image as pico-sdk's builds give it: blocks in order, each with 256 bytes."""
    pages = [image[at : at + 256].ljust(256, b"\0") for at in range(0, len(image), 256)]
    blocks = []
    for number, page in enumerate(pages):
        head = struct.pack(
            "<8I",
            0x0A324655,
            0x9E5D5157,
            0x2000,
            FLASH_BASE + 256 * number,
            256,
            number,
            len(pages),
            _FAMILIES[chip.name],
        )
        blocks.append(head + page + bytes(512 - 32 - 256 - 4) + struct.pack("<I", 0x0AB16F30))
    return b"".join(blocks)


def factory_image(chip: Chip) -> bytes:
    """What a new board holds where nobody says otherwise."""
    return build_app(chip, "factory", "0.0.0")


def demo_files() -> Iterator[tuple[str, bytes]]:
    """Names and contents of the demonstration's files."""
    for label, chip in (("pico", RP2040), ("pico2", RP2350)):
        yield f"demo-{label}-{INSTALLED}.factory.bin", build_app(chip, PROJECT, INSTALLED)
        yield f"demo-{label}-{NEXT}.uf2", to_uf2(build_app(chip, PROJECT, NEXT), chip)
