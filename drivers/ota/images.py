"""Application images that an Espressif board takes over the network, and what they say of themselves.

`esp_image` checks them with esptool's own classes (GPL-2.0-or-later; imported by way of esp_log, as the serial driver
does). What is added here is what only an update over the network can do wrong.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Sequence

from drivers.base import BadImage, ImageFacts, Segment
from drivers.esp import image as esp_image
from drivers.esp.log import esptool

_MAGIC = 0xE9
_GZIP = b"\x1f\x8b"  # which eboot of the ESP8266 unpacks
_EXTENDED_HEADER = slice(8, 24)
_CHIP_ID = slice(4, 6)  # of the extended header
_HASH_APPENDED = 15
_BIGGEST = 16 << 20  # bytes: more than any of these chips maps
_APP_DESCRIPTION_AT = 0x20  # the first bytes of the first segment, in every application that ESP-IDF links
_APP_DESCRIPTION = 0xABCD5432.to_bytes(4, "little")
_ARDUINO = "arduino-lib-builder"  # the project in every sketch's description: Arduino's libraries, not the sketch


def inspect(segments: Sequence[Segment]) -> ImageFacts:
    """Facts of the one image. Raises `BadImage` for what would be refused, or would not start."""
    if len(segments) != 1:
        raise BadImage(f"an update over the network takes one image, not {len(segments)}")
    segment = segments[0]
    name = segment.name or "the image"
    if segment.data.startswith(_GZIP):
        return _inspect_packed(segment, name)
    if not segment.data or segment.data[0] != _MAGIC:
        raise BadImage(f"{name} is no application image of an Espressif chip (it begins with {segment.data[:1].hex()})")
    chip = chip_of(segment.data)
    facts = esp_image.inspect(segment, chip)
    if chip != "esp8266":
        _refuse_other_parts(segment.data, name)
    return _of_the_sketch(facts)


def chip_of(data: bytes) -> str:
    """The chip that an image's header names. The ESP8266's has no such field, and code where it would be."""
    extended = data[_EXTENDED_HEADER]
    if len(extended) == 16 and extended[_HASH_APPENDED] in (0, 1):
        chip_id = int.from_bytes(extended[_CHIP_ID], "little")
        for name, rom in esptool.targets.CHIP_DEFS.items():
            if name != "esp8266" and getattr(rom, "IMAGE_CHIP_ID", None) == chip_id:
                return str(name)
    return "esp8266"


def _inspect_packed(segment: Segment, name: str) -> ImageFacts:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        data = unpacker.decompress(segment.data, _BIGGEST)
    except zlib.error as error:
        raise BadImage(f"{name} is no whole gzip file: {error}") from error
    if not unpacker.eof or chip_of(data) != "esp8266" or data[:1] != bytes([_MAGIC]):
        raise BadImage(f"{name} holds no image for the ESP8266, the only chip that unpacks one")
    return esp_image.inspect(Segment(segment.address, data, name), "esp8266")


def _refuse_other_parts(data: bytes, name: str) -> None:
    """A boot loader, or a whole flash that begins with one, has the right magic, and would be started."""
    if data[_APP_DESCRIPTION_AT : _APP_DESCRIPTION_AT + 4] != _APP_DESCRIPTION:
        raise BadImage(
            f"{name} is an image, but of no application (a boot loader, or a merged image for the whole flash?)",
            advice="Nothing was written. Give the application alone: the build's firmware.bin, without `merged`.",
        )


def _of_the_sketch(facts: ImageFacts) -> ImageFacts:
    """An Arduino sketch's description is that of the libraries: its version is not the sketch's."""
    if facts.project == _ARDUINO:
        return dataclasses.replace(facts, project=None, version=None)
    return facts
