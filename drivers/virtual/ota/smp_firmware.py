"""Firmware for the boards that MCUboot starts: signed images without a key, always the same bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from drivers.virtual.ota import mcuboot_image
from drivers.virtual.ota.mcuboot_image import Version

FACTORY_VERSION = "0.0.0"
INSTALLED, NEXT = "1.1.0", "1.2.0"
DEFAULT_SIZE = 48 * 1024


def image(version: str, size: int = DEFAULT_SIZE) -> bytes:
    """A signed image of `version` ("1.2.0" or "1.2.0+4") whose body has `size` bytes."""
    body = hashlib.shake_256(f"mcuboot application {version}".encode()).digest(size)
    return mcuboot_image.build(Version.of(version), body)


def factory_image() -> bytes:
    """What a new board runs."""
    return image(FACTORY_VERSION)


def demo_files() -> Iterator[tuple[str, bytes]]:
    """The demonstration's: what a board has, and its update."""
    yield f"demo-smp-{INSTALLED}.factory.bin", image(INSTALLED)
    yield f"demo-smp-{NEXT}.signed.bin", image(NEXT)
