"""The family as the harness sees it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from drivers.base import (
    Capabilities,
    DeviceError,
    Identity,
    ImageFacts,
    Interface,
    Link,
    Log,
    Options,
    Region,
    Segment,
    TypeDefaults,
)
from drivers.stm32 import files, image
from drivers.stm32.lines import Stm32Options
from drivers.stm32.parts import PARTS, Part
from drivers.stm32.sectors import FLASH_BASE
from drivers.stm32.session import Stm32Session

# What runs on these chips says so, where it says anything: Zephyr (arch/arm/core/fault.c, kernel/fatal.c), Mbed OS
# (platform/source/mbed_error.c, mbed_fault_handler.c), MCUboot (boot/bootutil/src/loader.c, boot/zephyr/main.c).
_FAILURE_LINE = re.compile(
    r"^.*(?:ZEPHYR FATAL ERROR|\*\*\*\*\* (?:HARD|BUS|USAGE|MPU|MEM MANAGE|Reserved Exception) FAULT \*\*\*\*\*"
    r"|\+\+ MbedOS (?:Fault Handler|Error Info) \+\+|Unable to find bootable image"
    r"|Image in the primary slot is not valid!).*$",
    re.MULTILINE,
)

_ABLE = Capabilities(can_read_back=True, can_hash=False, can_reset=True)
_USUAL = TypeDefaults(
    flash_address=FLASH_BASE,
    flash_base=FLASH_BASE,
    max_firmware_size=0x200000,  # of the largest parts
    flash_baudrate=115200,  # what every boot loader measures (AN3155, 2.2)
)


@dataclass(frozen=True)
class Stm32Driver:
    """Every part of the family: which one it is, the boot loader says."""

    device_type: str = "stm32"
    interface: Interface = Interface.SERIAL
    capabilities: Capabilities = _ABLE
    defaults: TypeDefaults = _USUAL
    options: type[Options] = Stm32Options
    # What is around a segment in its sectors is kept, whatever their size: this only keeps two files out of one page.
    erase_block: int = 0x80
    hash_block: int = 0x40000  # an F7's largest sector, on whose multiples all of its larger ones lie

    def open(self, link: Link, log: Log) -> Stm32Session:
        options = link.options if isinstance(link.options, Stm32Options) else Stm32Options()
        return Stm32Session(link, options, log)

    def parse(self, name: str, data: bytes, address: int | None) -> tuple[Segment, ...]:
        return files.parse(name, data, address)

    def inspect(self, segments: Sequence[Segment]) -> ImageFacts:
        image.check(segments)
        return ImageFacts()

    def matches(self, wanted: str, identity: Identity) -> bool:
        part = next((part for part in PARTS.values() if part.name == identity.chip), None)
        return part is not None and _means(wanted.lower(), part)

    def room(self, chip: str, options: Options) -> Region | None:  # noqa: ARG002
        """One name stands for parts of several sizes."""
        if any(_means(chip.lower(), part) for part in PARTS.values()):
            return None
        raise DeviceError(
            f"no part of this driver's is called {chip!r}",
            advice="Name it as stm32f103, stm32f103c8t6, stm32f1 or 0x410; docs/families/stm32.md has the families.",
        )

    def reported_version(self, console: str) -> str | None:  # noqa: ARG002
        """No convention: "Booting Zephyr OS build v3.7.0" is the system's version, not the application's."""
        return None

    def boot_failure(self, console: str) -> str | None:
        line = _FAILURE_LINE.search(console)
        return line[0].strip() if line else None


def _means(wanted: str, part: Part) -> bool:
    """By "stm32", "stm32f1", "stm32f103", "stm32f103c8t6", "stm32f40x", or the product id as "0x410"."""
    if wanted.startswith("0x"):
        return wanted == f"{part.product_id:#x}"
    if wanted == part.name:
        return True
    plain = wanted.rstrip("x")
    if not plain.startswith("stm32"):
        return False
    return any(line.startswith(plain) or plain.startswith(line) for line in part.lines)


STM32 = Stm32Driver()
