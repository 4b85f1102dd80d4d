"""A family of boards that takes no time: what is left of a run is the harness's own cost (rollout_cost.py)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from drivers.base import (
    Capabilities,
    Driver,
    Identity,
    ImageFacts,
    Interface,
    Link,
    Log,
    Options,
    Progress,
    Region,
    Segment,
    TypeDefaults,
)

BLOCK = 0x1000
SIZE = 4 * BLOCK


class InstantSession:
    """A board that begins blank, and reports the version that its flash begins with."""

    flash_baudrate = 921600

    def __init__(self, port: str) -> None:
        self._serial = hashlib.sha256(port.encode()).hexdigest()[:12]
        self._flash = bytearray(b"\xff" * SIZE)
        self._console = b""

    def connect(self) -> Identity:
        return Identity("instant", "v1.0", self._serial, SIZE)

    def digest(self, region: Region) -> str:
        return hashlib.md5(self._flash[region.address : region.end]).hexdigest()

    def read(self, region: Region, progress: Progress) -> bytes:
        progress(region.size, region.size)
        return bytes(self._flash[region.address : region.end])

    def holds(self, segment: Segment) -> bool:
        return self._flash[segment.address : segment.region.end] == segment.data

    def installed_version(self, address: int) -> str | None:
        return None if self._flash[address] == 0xFF else self._flash[address:].split(b"\n")[0].decode()

    def write(self, segments: Sequence[Segment], progress: Progress) -> None:
        for segment in segments:
            self._flash[segment.address : segment.region.end] = segment.data
            progress(len(segment.data), len(segment.data))

    def reset(self) -> None:
        self._console = b"version: " + (self.installed_version(0) or "none").encode() + b"\n"

    def confirm(self) -> None:
        """There are no slots."""

    def revert(self, version: str | None) -> bool:  # noqa: ARG002
        return False

    def read_console(self, timeout_s: float) -> bytes:  # noqa: ARG002  (whatever comes is there at once)
        said, self._console = self._console, b""
        return said

    def write_console(self, data: bytes) -> None:
        """There is nothing to be told."""

    def slow_down(self) -> bool:
        return False

    def close(self) -> None:
        """There is no port."""


class InstantDriver:
    device_type = "instant"
    interface = Interface.SERIAL
    defaults = TypeDefaults()
    options = Options
    capabilities = Capabilities(can_read_back=True, can_hash=True, can_reset=True)
    erase_block = hash_block = BLOCK

    def open(self, link: Link, log: Log) -> InstantSession:  # noqa: ARG002
        return InstantSession(link.port)

    def parse(self, name: str, data: bytes, address: int | None) -> tuple[Segment, ...]:
        return (Segment(address or 0, data, name),)

    def inspect(self, segments: Sequence[Segment]) -> ImageFacts:
        return ImageFacts(chip="instant", version=segments[0].data.split(b"\n")[0].decode())

    def matches(self, wanted: str, identity: Identity) -> bool:
        return wanted == identity.chip

    def reported_version(self, console: str) -> str | None:
        return console.removeprefix("version: ").strip() or None

    def boot_failure(self, console: str) -> str | None:
        return "no firmware" if "version: none" in console else None


DRIVER: Driver = InstantDriver()
