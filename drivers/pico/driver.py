"""Raspberry Pi Pico and the other boards with RP2040 or RP2350: over their boot drive, and over USB (PICOBOOT).

| device type | way        | read back | serial number            |
| ----------- | ---------- | --------- | ------------------------ |
| pico        | boot drive | no        | none                     |
| pico2       | boot drive | no        | none                     |
| pico-usb    | PICOBOOT   | yes       | none: RP2040's ROM has no unique one |
| pico2-usb   | PICOBOOT   | yes       | unique                   |

The drive and PICOBOOT belong to the same boot ROM. They are device types of their own since what a family can do is
declared for all of its boards.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from drivers.base import (
    BadImage,
    Capabilities,
    DeviceError,
    Identity,
    ImageFacts,
    Interface,
    Link,
    Log,
    Options,
    PortUnavailable,
    Region,
    Segment,
    TypeDefaults,
)
from drivers.files import raw
from drivers.pico import image as pico_image
from drivers.pico import uf2 as pico_uf2
from drivers.pico.drive_session import DriveSession
from drivers.pico.image import FLASH_BASE
from drivers.pico.options import PicoOptions
from drivers.pico.session import USUAL_FLASH
from drivers.pico.uf2 import Family
from drivers.pico.usb_session import UsbSession

_CHIPS = {
    "pico": "rp2040",
    "picow": "rp2040",
    "picousb": "rp2040",
    "rp2040": "rp2040",
    "pico2": "rp2350",
    "pico2w": "rp2350",
    "pico2usb": "rp2350",
    "rp2350": "rp2350",
    "rp2350a": "rp2350",
    "rp2350b": "rp2350",
}

# What the usual interpreters print at their start. Whole only with what follows: bytes arrive as they like.
_VERSION_LINE = re.compile(r"(?:MicroPython|Adafruit CircuitPython) v?(\d\S*)(?= on \d)")
# pico-sdk: `panic` (pico_platform_panic/panic.c), newlib's assert, and `hard_assertion_failure`.
_FAILURE_LINE = re.compile(
    r"^.*(?:\*\*\* PANIC \*\*\*|assertion \".*\" failed|Hard assert|panicked at ).*$", re.MULTILINE
)
_PANIC_TEXT = re.compile(r"\*\*\* PANIC \*\*\*\s+(\S.*)")

_Open = Callable[[Link, PicoOptions, Log], DriveSession | UsbSession]


def _chip(name: str) -> str | None:
    return _CHIPS.get(re.sub(r"[^a-z0-9]", "", name.lower()))


def _open_drive(link: Link, options: PicoOptions, log: Log) -> DriveSession:
    if not link.mount_point:
        raise PortUnavailable(
            "no `mount_point` is named", advice="Name the folder at which the boot drive appears, e.g. /media/RPI-RP2."
        )
    return DriveSession(link, options, log)


def _open_usb(link: Link, options: PicoOptions, log: Log) -> UsbSession:
    if not link.usb:
        raise PortUnavailable(
            "no `usb` is named",
            advice="Name the boot loader on USB: its serial number, its place (1-1.4), or usbip://host:port/busid.",
        )
    return UsbSession(link, options, log)


@dataclass(frozen=True)
class PicoDriver:
    """One way to the boards of the family."""

    device_type: str
    capabilities: Capabilities
    opens: _Open
    defaults: TypeDefaults
    interface: Interface = Interface.USB
    options: type[Options] = PicoOptions
    erase_block: int = pico_uf2.SECTOR
    hash_block: int = 0x10000

    def open(self, link: Link, log: Log) -> DriveSession | UsbSession:
        options = link.options if isinstance(link.options, PicoOptions) else PicoOptions()
        return self.opens(link, options, log)

    def parse(self, name: str, data: bytes, address: int | None) -> tuple[Segment, ...]:
        if not (name.lower().endswith(".uf2") or pico_uf2.is_uf2(data)):
            _refuse_other_formats(name, data)
            return raw(name, data, address)
        image = pico_uf2.parse(name, data)
        _refuse_contradiction(name, image)
        return image.segments

    def inspect(self, segments: Sequence[Segment]) -> ImageFacts:
        head = pico_image.head_of(segments)
        if not head:
            return ImageFacts()  # data for some other place; nothing starts there
        chips = pico_image.startable(head).chips
        if not chips:
            raise BadImage(
                "neither a second stage with a valid checksum (RP2040) nor an IMAGE_DEF (RP2350) is at its beginning: "
                "the boot ROM would stay in its boot loader"
            )
        said = pico_image.describe(pico_image.from_segments(segments), FLASH_BASE)
        return ImageFacts(chips[0] if len(chips) == 1 else None, said.name, said.version)

    def matches(self, wanted: str, identity: Identity) -> bool:
        return _chip(wanted) == identity.chip

    def room(self, chip: str, options: Options) -> Region | None:  # noqa: ARG002
        """Where the flash ends, over USB the flash itself shows."""
        if _chip(chip) is None:
            raise DeviceError(f"no chip of a Pico is called {chip!r}", advice="Name it as rp2040 or rp2350.")
        return None

    def reported_version(self, console: str) -> str | None:
        found = _VERSION_LINE.findall(console)
        return found[-1] if found else None

    def boot_failure(self, console: str) -> str | None:
        line = _FAILURE_LINE.search(console)
        if line is None:
            return None
        why = _PANIC_TEXT.search(console)
        return f"{line[0].strip()} {why[1].strip()}" if why else line[0].strip()


def _refuse_other_formats(name: str, data: bytes) -> None:
    """Their bytes as they are would be written as firmware."""
    if data.startswith(b"\x7fELF") or name.lower().endswith((".elf", ".hex")):
        raise BadImage(
            f"{name} is neither a UF2 file nor plain bytes", advice="Name the .uf2 that the build makes beside it."
        )


def _refuse_contradiction(name: str, image: pico_uf2.Image) -> None:
    """A file whose family is not the one of the chip that its contents are for."""
    head = pico_image.head_of(image.segments)
    if not head:
        return
    startable = pico_image.startable(head)
    wrong = {
        Family.RP2040: not startable.rp2040,
        Family.RP2350_ARM_S: not startable.rp2350 or startable.riscv,
        Family.RP2350_RISCV: not startable.rp2350,
    }.get(image.family, False)
    if wrong and startable.chips:
        raise BadImage(
            f"{name} names the family {image.family.name}, but holds what {' and '.join(startable.chips)} would start"
        )


_DRIVE = Capabilities(can_read_back=False, can_hash=False, can_reset=False, can_verify=False, has_serial=False)
_USB = Capabilities(can_read_back=True, can_hash=False, can_reset=True, has_serial=False)
_USB_UNIQUE = Capabilities(can_read_back=True, can_hash=False, can_reset=True)

_RP2040 = TypeDefaults(flash_address=FLASH_BASE, flash_base=FLASH_BASE, usual_flash=USUAL_FLASH["rp2040"])
_RP2350 = TypeDefaults(flash_address=FLASH_BASE, flash_base=FLASH_BASE, usual_flash=USUAL_FLASH["rp2350"])

PICO = PicoDriver("pico", _DRIVE, _open_drive, _RP2040)
PICO2 = PicoDriver("pico2", _DRIVE, _open_drive, _RP2350)
PICO_USB = PicoDriver("pico-usb", _USB, _open_usb, _RP2040)
PICO2_USB = PicoDriver("pico2-usb", _USB_UNIQUE, _open_usb, _RP2350)

__all__ = ["PICO", "PICO2", "PICO2_USB", "PICO_USB", "PicoDriver", "PicoOptions"]
