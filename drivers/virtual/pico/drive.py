"""The boot drive as the board has it, whatever hosts see of it; and the files that are on it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Protocol

from drivers.virtual.pico.chips import Chip

TakeSector = Callable[[bytes], Awaitable[bool]]
"""Takes a sector of 512 bytes; True when it completed a transfer. Raises `PowerLost`."""

_PAGE_OF_VENDOR = (
    '<html><head><meta http-equiv="refresh" content="0;URL=\'https://raspberrypi.com/device/RP2?version={version}\'"/>'
    "</head><body>Redirecting to <a href='https://raspberrypi.com/device/RP2?version={version}'>raspberrypi.com</a>"
    "</body></html>"
)


class Drive(Protocol):
    """The place at which the drive of one board appears."""

    @property
    def path(self) -> Path: ...

    @property
    def kind(self) -> str:
        """What hosts find there, in words."""

    @property
    def is_in_use(self) -> bool:
        """Whether somebody has copied something to it."""

    def show(self, chip: Chip, serial: str) -> None:
        """The drive appears."""

    def hide(self) -> None:
        """The drive leaves, with all that was copied to it."""

    async def serve(self, take: TakeSector) -> None:
        """Hand over each sector that is written, until one of them completes a transfer. Raises what `take` raises."""


def contents(chip: Chip, serial: str) -> Mapping[str, bytes]:
    """The drive's own files."""
    page = _PAGE_OF_VENDOR.format(version=serial[:12])
    return {"INDEX.HTM": page.encode(), "INFO_UF2.TXT": chip.info.encode()}
