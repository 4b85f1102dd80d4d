"""The driver of Espressif's chips that are updated over the network: protocols differ in data and in their sessions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from drivers.base import Capabilities, Identity, ImageFacts, Interface, Link, Log, Options, Segment, TypeDefaults
from drivers.files import raw
from drivers.ota import images
from drivers.ota.session import UpdateSession, boot_failure

_SECTOR = 0x1000  # bytes; the smallest erase of their flash


@dataclass(frozen=True)
class UpdateDriver:
    """Boards with one of the protocols; `make` makes a session of it."""

    device_type: str
    capabilities: Capabilities
    defaults: TypeDefaults
    options: type[Options]
    make: Callable[[Link, Log], UpdateSession]
    interface: Interface = Interface.NETWORK
    erase_block: int = _SECTOR
    hash_block: int = 0x10000

    def open(self, link: Link, log: Log) -> UpdateSession:
        return self.make(link, log)

    def parse(self, name: str, data: bytes, address: int | None) -> tuple[Segment, ...]:
        return raw(name, data, address)

    def inspect(self, segments: Sequence[Segment]) -> ImageFacts:
        return images.inspect(segments)

    def matches(self, wanted: str, identity: Identity) -> bool:
        """A batch that names no chip takes whichever is there: these boards do not say theirs by themselves."""
        return wanted == self.device_type or wanted.lower().replace("-", "") == identity.chip

    def reported_version(self, console: str) -> str | None:  # noqa: ARG002
        """Not by a form of the family's own; the wanted version is looked for in what the status page says."""
        return None

    def boot_failure(self, console: str) -> str | None:
        return boot_failure(console)
