"""Small images in Espressif's format, made here byte by byte so that no code of the product vouches for itself.

ESP-IDF "App Image Format": header, one segment that begins with `esp_app_desc_t`, checksum, SHA-256.
"""

from __future__ import annotations

import hashlib
import struct

CHIP_IDS = {"esp32": 0, "esp32c3": 5, "esp32s3": 9}


def app_image(chip: str = "esp32", version: str = "1.2.0", project: str = "demo", size: int = 1024) -> bytes:
    """A bootable image of about `size` bytes."""
    description = struct.pack("<II8s32s32s", 0xABCD5432, 0, b"", version.encode(), project.encode()).ljust(256, b"\0")
    data = description.ljust(max(size, 256) // 4 * 4, b"\x5a")
    header = struct.pack("<BBBBI", 0xE9, 1, 2, 0x20, 0x40080000)
    if chip in CHIP_IDS:
        header += struct.pack("<B3sHBHH4sB", 0xEE, b"", CHIP_IDS[chip], 0, 0, 0xFFFF, b"", 1)
    image = header + struct.pack("<II", 0x3F400020, len(data)) + data
    checksum = 0xEF
    for byte in data:
        checksum ^= byte
    image = image.ljust(len(image) // 16 * 16 + 15, b"\0") + bytes([checksum])
    return image + hashlib.sha256(image).digest() if chip in CHIP_IDS else image
