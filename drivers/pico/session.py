"""What the sessions over the boot drive and over PICOBOOT have in common. The contract is `drivers.base.Session`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from drivers.base import (
    BadImage,
    BootFailed,
    ConnectionLost,
    DeviceError,
    Identity,
    Link,
    Log,
    Region,
    Segment,
    WrongBoard,
)
from drivers.pico import image as pico_image
from drivers.pico.app import AppPort
from drivers.pico.options import PicoOptions

USUAL_FLASH = {"rp2040": 2 << 20, "rp2350": 4 << 20}  # bytes: Raspberry Pi's own boards
_TOUCH_AGAIN_S = 5.0  # an application that was just starting did not hear the first one
_BY_HAND = "Hold BOOTSEL while plugging the board in, then run it again."


class PicoSession:
    """Getting into the boot loader, the console, and what can not be done."""

    def __init__(self, link: Link, options: PicoOptions, log: Log) -> None:
        self._link = link
        self._options = options
        self._log = log
        self._app = AppPort(link, log)

    @property
    def flash_baudrate(self) -> int:
        return self._link.flash_baudrate

    def slow_down(self) -> bool:
        """USB has one speed."""
        return False

    def confirm(self) -> None:
        """There is no probation: what is in flash is what runs."""

    def revert(self, version: str | None) -> bool:  # noqa: ARG002
        return False

    def digest(self, region: Region) -> str:  # noqa: ARG002
        raise DeviceError("the boot ROMs of RP2040 and RP2350 compute no digests")

    def write_console(self, data: bytes) -> None:
        with self._translated("write to the console"):
            self._app.write(data)

    def read_console(self, timeout_s: float) -> bytes:
        with self._translated("read the console"):
            said = self._app.read(timeout_s)
            if not said and self._is_back_in_loader():
                raise BootFailed(
                    "the board is back in its boot loader: it finds nothing in its flash that it could start",
                    advice="The image was not written whole (power, cable), or the ROM refuses it: write it again.",
                )
            return said

    def _is_back_in_loader(self) -> bool:
        raise NotImplementedError

    def _translated(self, doing: str) -> AbstractContextManager[None]:
        raise NotImplementedError

    def _enter_loader(self, is_there: Callable[[float], bool]) -> None:
        """`is_there` waits up to so many seconds for the boot loader."""
        deadline = time.monotonic() + self._link.connect_timeout_s
        found, touched = is_there(0.0), False
        left_s = self._link.connect_timeout_s
        while not found and left_s > 0:  # once at least, however long the first look took
            touched = (not self._options.port_is_adapter and self._app.touch()) or touched
            left_s = deadline - time.monotonic()
            found = is_there(min(_TOUCH_AGAIN_S, max(left_s, 0.0)))
        if not found:
            raise ConnectionLost(self._why_no_loader(touched), advice=_BY_HAND)
        if self._app.is_plugged_in and not self._options.port_is_adapter:
            raise WrongBoard(
                f"the application runs on {self._link.port}: the boot loader found is another board's",
                advice="Nothing was written. Give each board a `mount_point` of its own, or its place on USB; where "
                "`port` is an adapter beside the board, say `port_is_adapter`.",
            )

    def _why_no_loader(self, touched: bool) -> str:
        within = f"within {self._link.connect_timeout_s:g} s"
        if touched:
            return f"the application did not start the boot loader {within}, although it was asked to at 1200 baud"
        if self._options.port_is_adapter:
            return f"the boot loader was not there {within}, and `port` is an adapter's, which can not ask for it"
        if self._app.is_named:
            return f"neither the boot loader nor the application's port {self._link.port} was there {within}"
        return f"the boot loader was not there {within}, and no `port` of an application that could start it is named"

    def _listen_early(self) -> None:
        """An adapter's port is there before the application is: nothing that it says at once is lost."""
        if self._options.port_is_adapter:
            self._app.open(0.0)

    def _wait_for_application(self) -> None:
        """Its port, where one is named; so that nothing of what it says is lost."""
        if self._app.is_named and not self._app.open(self._link.connect_timeout_s):
            raise BootFailed(
                f"the boot loader has left, but the application's port {self._link.port} did not come within "
                f"{self._link.connect_timeout_s:g} s"
            )

    def close(self) -> None:
        self._app.close()


def refuse_misfit(segments: Sequence[Segment], identity: Identity) -> None:
    """Raises `BadImage` for what does not fit into the flash, or is for the other chip.

    What no chip would start is not refused here: it may be what the board held before.
    """
    for segment in segments:
        if segment.address < identity.writable.address or segment.region.end > identity.writable.end:
            raise BadImage(
                f"{segment.name or 'the image'} covers {segment.address:#x} to {segment.region.end:#x}, the flash "
                f"{identity.writable.address:#x} to {identity.writable.end:#x}: beyond it, addresses wrap"
            )
    chips = pico_image.startable(pico_image.head_of(segments)).chips
    if chips and identity.chip not in chips:
        raise BadImage(f"the image is made for {' and '.join(chips)}, the board is an {identity.chip}")
