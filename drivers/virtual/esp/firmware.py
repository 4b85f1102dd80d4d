"""Builds firmware for the virtual boards: real images, with esptool's own image classes, always the same bytes.

ESP32 family: boot loader, partition table, application with its `esp_app_desc_t`. ESP8266: one file for address 0, the
way NodeMCU's is laid out: the part that the ROM loads into RAM, and from 0x10000 on the code that runs from flash.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from drivers.virtual.esp.chips import CHIPS
from drivers.virtual.esp.image import Description, make_description
from drivers.virtual.esp.partitions import APP, DATA, FACTORY, TABLE_AT, Partition, make_table
from drivers.virtual.esp.virtual_app import Behaviour, VirtualApp

PROJECT = "demo"
INSTALLED, NEXT, BROKEN = "1.1.0", "1.2.0", "1.3.0"
FACTORY_PROJECT = "factory"
FACTORY_VERSION = "0.0.0"
DEFAULT_APP_SIZE = 256 * 1024
APP_AT = 0x10000
_IDF_VERSION = "v5.0.8"
_8266_CODE_AT = 0x10000  # in flash and in the merged file; mapped to 0x40210000
_BOOTLOADER_CODE = 12 * 1024
_DIO = 2
_WORDS = b"wifi mqtt sensor update error timeout config connected retry reading value status ok "


@dataclass(frozen=True)
class _Layout:
    """Where a chip's programs live, and its header's flash size and speed."""

    image_class: str
    rodata: int
    code: int
    iram: int
    dram: int
    boot_dram: int
    boot_iram: int
    size_and_speed: int


_LAYOUTS = {
    "esp32": _Layout(
        "ESP32FirmwareImage", 0x3F400020, 0x400D0020, 0x40080000, 0x3FFB0000, 0x3FFF0030, 0x40078000, 0x20
    ),
    "esp32s3": _Layout(
        "ESP32S3FirmwareImage", 0x3C000020, 0x42010020, 0x40374000, 0x3FC90000, 0x3FCE3808, 0x403C9700, 0x3F
    ),
    "esp32c3": _Layout(
        "ESP32C3FirmwareImage", 0x3C000020, 0x42010020, 0x40380000, 0x3FC90000, 0x3FCD5820, 0x403CC710, 0x2F
    ),
    "esp32s2": _Layout(
        "ESP32S2FirmwareImage", 0x3F000020, 0x40080020, 0x40024000, 0x3FFC0000, 0x3FFE6100, 0x4004C000, 0x2F
    ),
    "esp32c2": _Layout(
        "ESP32C2FirmwareImage", 0x3C000020, 0x42010020, 0x40380000, 0x3FCA0000, 0x3FCD5C80, 0x403ACB70, 0x2F
    ),
    "esp32c5": _Layout(
        "ESP32C5FirmwareImage", 0x42000020, 0x42400020, 0x40800000, 0x40830000, 0x408556B0, 0x4084BBA0, 0x2F
    ),
    "esp32c6": _Layout(
        "ESP32C6FirmwareImage", 0x42000020, 0x42400020, 0x40800000, 0x40830000, 0x40875720, 0x4086C110, 0x20
    ),
    "esp32h2": _Layout(
        "ESP32H2FirmwareImage", 0x42000020, 0x42400020, 0x40800000, 0x40830000, 0x408460F0, 0x4083C2D0, 0x2F
    ),
    "esp32p4": _Layout(
        "ESP32P4FirmwareImage", 0x40000020, 0x44000020, 0x4FF00000, 0x4FF20000, 0x4FF33CE0, 0x4FF2ABD0, 0x2F
    ),
}


def build_app(
    chip: str,
    project: str,
    version: str,
    size: int = DEFAULT_APP_SIZE,
    behaviour: Behaviour = Behaviour.RUN,
) -> bytes:
    """An application image of about `size` bytes; for the ESP8266 everything from address 0 on."""
    if chip == "esp8266":
        return _build_8266(project, version, size, behaviour)
    layout = _LAYOUTS[chip]
    image = _image(layout)
    head = _description(chip, project, version) + VirtualApp(behaviour).packed()
    iram, dram = size // 8, size // 16
    mapped = size - iram - dram
    image.segments = [
        _segment(layout.rodata, head + _filling(f"{chip} {project} rodata", version, mapped // 2)),
        _segment(layout.code, _filling(f"{chip} {project} text", version, mapped // 2)),
        _segment(layout.iram, _filling(f"{chip} {project} iram", "", iram)),
        _segment(layout.dram, _filling(f"{chip} {project} dram", version, dram)),
    ]
    image.entrypoint = layout.iram + 0x400
    return bytes(image.save(None))


def build_bootloader(chip: str, version: str) -> bytes:
    """A second-stage boot loader with its `esp_bootloader_desc_t`, for the chip's boot offset."""
    layout = _LAYOUTS[chip]
    image = _image(layout)
    description = struct.pack("<B2xBI32s24s16x", 0x50, 0, 1, _IDF_VERSION.encode(), b"Jan  1 2024 00:00:00")
    image.segments = [
        _segment(layout.boot_dram, description + _filling(f"{chip} boot dram", version, 1024)),
        _segment(layout.boot_iram, _filling(f"{chip} boot iram", version, _BOOTLOADER_CODE)),
    ]
    image.entrypoint = layout.boot_iram + 0x100
    return bytes(image.save(None))


def build_partition_table() -> bytes:
    """NVS, PHY data and one application partition of 1 MiB."""
    return make_table(
        [
            Partition(DATA, 0x02, 0x9000, 0x6000, "nvs"),
            Partition(DATA, 0x01, 0xF000, 0x1000, "phy_init"),
            Partition(APP, FACTORY, APP_AT, 0x100000, "factory"),
        ]
    )


def merged_image(chip: str, project: str, version: str) -> bytes:
    """Everything that a board needs, from address 0 on."""
    app = build_app(chip, project, version)
    if chip == "esp8266":
        return app
    merged = bytearray(b"\xff" * APP_AT)
    for at, part in ((CHIPS[chip].boot_offset, build_bootloader(chip, version)), (TABLE_AT, build_partition_table())):
        merged[at : at + len(part)] = part
    return bytes(merged) + app


def factory_image(chip: str, version: str = FACTORY_VERSION) -> bytes:
    """What a board has in its flash that nobody has flashed yet, from address 0 on."""
    return merged_image(chip, FACTORY_PROJECT, version)


def demo_files() -> Iterator[tuple[str, bytes]]:
    """The demonstration's files: what the boards hold, and what they are to be given."""
    for chip in CHIPS:
        yield f"demo-{chip}-{INSTALLED}.factory.bin", merged_image(chip, PROJECT, INSTALLED)
        yield f"demo-{chip}-{NEXT}.bin", build_app(chip, PROJECT, NEXT)
    yield f"demo-esp32-{INSTALLED}.bin", build_app("esp32", PROJECT, INSTALLED)  # for updates over the air
    yield f"demo-esp32-{NEXT}.bootloader.bin", build_bootloader("esp32", NEXT)
    yield f"demo-esp32-{NEXT}.partition-table.bin", build_partition_table()
    # Every check passes, the board starts it, and it aborts: what only a boot test finds.
    yield f"demo-esp32-{BROKEN}-noboot.bin", build_app("esp32", PROJECT, BROKEN, behaviour=Behaviour.ABORT)


def _build_8266(project: str, version: str, size: int, behaviour: Behaviour) -> bytes:
    from esptool.bin_image import ESP8266ROMFirmwareImage

    code = _filling(f"esp8266 {project} irom", version, max(size - _8266_CODE_AT, 0x1000))
    virtual = VirtualApp(behaviour, _8266_CODE_AT, len(code), zlib.crc32(code))
    image = ESP8266ROMFirmwareImage()
    image.flash_mode, image.flash_size_freq, image.entrypoint = _DIO, 0x40, 0x40100004
    head = _description("esp8266", project, version) + virtual.packed()
    image.segments = [
        _segment(0x3FFE8000, head + _filling(f"esp8266 {project} rodata", version, 4096)),
        _segment(0x40100000, _filling(f"esp8266 {project} iram", "", 24 * 1024)),
    ]
    _irom, loaded = image.save(None)
    return bytes(loaded).ljust(_8266_CODE_AT, b"\xff") + code


def _image(layout: _Layout) -> Any:
    from esptool import bin_image

    image = getattr(bin_image, layout.image_class)()
    image.flash_mode, image.flash_size_freq = _DIO, layout.size_and_speed
    image.max_rev_full = 399 if layout is _LAYOUTS["esp32"] else 99
    return image


def _segment(address: int, data: bytes) -> Any:
    from esptool.bin_image import ELFSection

    return ELFSection(b".data", address, data, 0)


def _description(chip: str, project: str, version: str) -> bytes:
    sha = hashlib.sha256(f"{chip} {project} {version}".encode()).digest()
    return make_description(Description(version, project, "00:00:00", "Jan  1 2024", _IDF_VERSION, sha))


def _filling(name: str, version: str, size: int) -> bytes:
    """Bytes that compress to about half: code of this version, code that versions share, and text."""
    size -= size % 4
    own = _noise(f"{name} {version}", size // 4)
    shared = _noise(name, size // 4)
    text = (_WORDS * (size // len(_WORDS) + 1))[: size - len(own) - len(shared)]
    return shared + text + own


def _noise(seed: str, size: int) -> bytes:
    return hashlib.shake_256(seed.encode()).digest(size)
