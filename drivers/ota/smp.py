"""Zephyr boards with MCUboot, updated over the network by the Simple Management Protocol (mcumgr) over UDP.

The way of an update: upload into the slot that does not run, mark it for test, reset, see that it runs, and only then
confirm it. Whatever goes wrong before that, MCUboot swaps back at the next reset.
Sources: Zephyr "MCUmgr" and "SMP Protocol Specification", MCUboot docs/design.md.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from drivers.base import (
    BadImage,
    Capabilities,
    Identity,
    ImageFacts,
    Interface,
    Link,
    Log,
    Options,
    Segment,
    TypeDefaults,
)
from drivers.files import raw
from drivers.ota import smp_image
from drivers.ota.smp_session import DEVICE_TYPE, SmpOptions, SmpSession

_ACTIVE = re.compile(r"^image 0 slot \d version (\S+) active\b", re.MULTILINE)
_CAPABILITIES = Capabilities(
    can_read_back=False, can_hash=False, can_reset=True, has_slots=True, has_console=False, has_serial=False
)
_DEFAULTS = TypeDefaults(flash_address=0, max_firmware_size=0x100000, port=1337)


@dataclass(frozen=True)
class SmpDriver:
    """Boards with MCUboot and an SMP server."""

    device_type: str = DEVICE_TYPE
    interface: Interface = Interface.NETWORK
    capabilities: Capabilities = _CAPABILITIES
    defaults: TypeDefaults = _DEFAULTS
    options: type[Options] = SmpOptions
    erase_block: int = 0x1000
    hash_block: int = 0x10000

    def open(self, link: Link, log: Log) -> SmpSession:
        return SmpSession(link, log)

    def parse(self, name: str, data: bytes, address: int | None) -> tuple[Segment, ...]:
        return raw(name, data, address)

    def inspect(self, segments: Sequence[Segment]) -> ImageFacts:
        if len(segments) != 1:
            raise BadImage(f"{len(segments)} files: such a board takes one image")
        image = smp_image.parse(segments[0].name, segments[0].data)
        return ImageFacts(version=image.version)

    def matches(self, wanted: str, identity: Identity) -> bool:
        return wanted.lower() == identity.chip.lower()

    def reported_version(self, console: str) -> str | None:
        found = _ACTIVE.findall(console)
        return found[-1] if found else None

    def boot_failure(self, console: str) -> str | None:  # noqa: ARG002
        return None


SMP = SmpDriver()

__all__ = ["SMP", "SmpDriver", "SmpOptions", "SmpSession"]
