"""One board over PICOBOOT: everything can be read back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from typing import TYPE_CHECKING

from drivers.base import (
    ConnectionLost,
    Identity,
    Link,
    Log,
    Progress,
    Region,
    Segment,
    VerificationFailed,
    WrongBoard,
)
from drivers.pico import flash as pico_flash
from drivers.pico import image as pico_image
from drivers.pico import usb_devices
from drivers.pico.errors import translate_usb
from drivers.pico.image import FLASH_BASE
from drivers.pico.options import PicoOptions
from drivers.pico.picoboot import Picoboot, Refused, Status
from drivers.pico.session import USUAL_FLASH, PicoSession, refuse_misfit
from drivers.pico.uf2 import SECTOR
from drivers.translation import translated

if TYPE_CHECKING:
    from usb.core import Device

_POLL_S = 0.1
_READ_CHUNK = 0x8000  # bytes of one READ
_REBOOT_MS = 100
_LOADER_AGAIN_S = 1.0  # how often a silent board is looked for in its boot loader
_ROM_VERSION = 0x13  # behind the ROM's magic "Mu" and a 1 or 2
_STEPPINGS = {  # by the ROM's version: RP2040 datasheet 2.8.2, RP2350's as picotool names them
    ("rp2040", 1): "B0",
    ("rp2040", 2): "B1",
    ("rp2040", 3): "B2",
    ("rp2350", 2): "A2",
    ("rp2350", 3): "A3",
    ("rp2350", 4): "A4",
}


class UsbSession(PicoSession):
    """PICOBOOT: everything can be read back."""

    def __init__(self, link: Link, options: PicoOptions, log: Log) -> None:
        super().__init__(link, options, log)
        self._device: Device | None = None
        self._boot: Picoboot | None = None
        self._identity: Identity | None = None
        self._looked_at = 0.0
        self._size_seen: int | None = None

    def connect(self) -> Identity:
        with self._translated("connect"):
            self._release()
            self._app.close()
            self._enter_loader(self._found)
            device = self._device
            assert device is not None
            self._boot = Picoboot(device)
            self._boot.claim()
            self._identity = self._identify(device, self._boot)
            return self._identity

    def _found(self, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while self._device is None:
            self._device = usb_devices.find(self._link.usb)
            if self._device is None:
                if time.monotonic() >= deadline:
                    return False
                time.sleep(_POLL_S)
        return True

    def _identify(self, device: Device, boot: Picoboot) -> Identity:
        chip = usb_devices.CHIPS[device.idProduct]
        rom = boot.read(_ROM_VERSION, 1)[0]
        # RP2040's ROM tells its own version there, the same on each board.
        serial = usb_devices.serial_number(device) if chip == "rp2350" else ""
        return Identity(chip, _STEPPINGS.get((chip, rom), f"ROM {rom}"), serial, self._size(chip, boot), FLASH_BASE)

    def _size(self, chip: str, boot: Picoboot) -> int:
        if self._size_seen is not None:
            return self._size_seen  # what is being written must not change who the board is
        found = pico_flash.flash_size(partial(_read_or_nothing, boot))
        wanted = self._options.flash_size
        if wanted is None:
            if found is None:
                self._log(f"the flash is erased, its size can not be seen: taken for {USUAL_FLASH[chip]} bytes")
            self._size_seen = found or USUAL_FLASH[chip]
            return self._size_seen
        if found is not None and found < wanted and self._repeats(boot, found, wanted):
            raise WrongBoard(f"the flash has {found} bytes and repeats itself beyond, flash_size says {wanted}")
        return wanted

    def _repeats(self, boot: Picoboot, found: int, wanted: int) -> bool:
        """All of it: the first pages may well be there twice, in a second slot."""
        self._log(f"the flash seems to have {found} bytes, not {wanted}: comparing")
        starts = range(FLASH_BASE, FLASH_BASE + found, _READ_CHUNK)
        return all(boot.read(at, _READ_CHUNK) == boot.read(at + found, _READ_CHUNK) for at in starts)

    def read(self, region: Region, progress: Progress) -> bytes:
        with self._translated(f"read {region.size} bytes at {region.address:#x}"):
            return self._read(region, progress)

    def _read(self, region: Region, progress: Progress) -> bytes:
        """The ROM reads whole pages from their beginning on."""
        start = region.address - region.address % pico_image.PAGE
        data = bytearray()
        while start + len(data) < region.end:
            size = min(_READ_CHUNK, region.end - start - len(data))
            data += self._loader.read(start + len(data), size)
            progress(max(0, start + len(data) - region.address), region.size)
        return bytes(data[region.address - start :])

    def holds(self, segment: Segment) -> bool | None:
        return self.read(segment.region, no_progress) == segment.data

    def installed_version(self, address: int) -> str | None:
        with self._translated("read the firmware's description"):
            identity = self._known

            def read(start: int, size: int) -> bytes:
                inside = min(size, identity.flash.end - start)
                if start < identity.flash.address or inside <= 0:
                    return b""
                return self._read(Region(start, inside), no_progress)

            return pico_image.describe(read, address).version

    def write(self, segments: Sequence[Segment], progress: Progress) -> None:
        with self._translated("write the flash"):
            refuse_misfit(segments, self._known)
            order = pico_flash.sectors(segments)
            opened: bytes | None = None  # what the sector that the ROM starts from held before it was erased
            done, total = 0, sum(len(segment.data) for segment in segments)
            for address in order:
                is_start = address == FLASH_BASE and opened is not None
                current = opened if is_start and opened is not None else self._sector(address)
                wanted = pico_flash.merged(address, current, segments)
                if wanted != current and address != order[-1] == FLASH_BASE and opened is None:
                    opened = self._sector(FLASH_BASE)
                    self._loader.erase(FLASH_BASE, SECTOR)
                if wanted != current or is_start:
                    self._write_sector(address, wanted)
                done += sum(_overlap(segment, address) for segment in segments)
                progress(min(done, total), total)

    def _sector(self, address: int) -> bytes:
        return self._loader.read(address, SECTOR)

    def _write_sector(self, address: int, data: bytes) -> None:
        rp2040 = self._known.chip == "rp2040"
        last = pico_image.deciding_page(data, rp2040=rp2040) if address == FLASH_BASE else None
        self._loader.erase(address, SECTOR)
        for at, run in pico_flash.programmable(data, last):
            self._loader.write(address + at, run)
        if self._loader.read(address, SECTOR) != data:
            raise VerificationFailed(f"the sector at {address:#x} does not hold what was written to it")

    def reset(self) -> None:
        with self._translated("start the application"):
            if self._boot is not None or self._device is not None or self._found(0.0):
                self._listen_early()
                self.reboot()
            self._wait_for_application()

    def reboot(self) -> None:
        """Leave the boot loader, connected or not. Raises what USB raises."""
        if self._boot is None:
            assert self._device is not None
            self._boot = Picoboot(self._device)
            self._boot.reset()
        assert self._device is not None
        try:
            self._boot.reboot(usb_devices.CHIPS[self._device.idProduct], _REBOOT_MS)
        finally:
            self._release()

    def _is_back_in_loader(self) -> bool:
        if self._device is not None or time.monotonic() < self._looked_at + _LOADER_AGAIN_S:
            return False
        self._looked_at = time.monotonic()
        found = usb_devices.find(self._link.usb)
        if found is not None:
            usb_devices.release(found)
        return found is not None

    @property
    def _loader(self) -> Picoboot:
        if self._boot is None:
            raise ConnectionLost("the session has no boot loader to talk to; connect first")
        return self._boot

    @property
    def _known(self) -> Identity:
        if self._boot is None or self._identity is None:
            raise ConnectionLost("the session has no boot loader to talk to; connect first")
        return self._identity

    def _translated(self, doing: str) -> AbstractContextManager[None]:
        """The device goes with an error: its endpoints are halted."""
        return translated(translate_usb, doing, failed=self._let_go, cut_short=self._release)

    def _let_go(self) -> None:
        self._release()
        self._app.close()

    def _release(self) -> None:
        device, self._device, self._boot, self._identity = self._device, None, None, None
        if device is not None:
            usb_devices.release(device)

    def close(self) -> None:
        if self._boot is not None:
            with suppress(Exception):  # its drive would ignore in silence whatever is copied to it
                self._boot.give_back()
        self._release()
        super().close()


def _read_or_nothing(boot: Picoboot, address: int, size: int) -> bytes:
    """Empty where nobody may read."""
    try:
        return boot.read(address, size)
    except Refused as refused:
        if refused.status not in (Status.NOT_PERMITTED, Status.INVALID_ADDRESS):
            raise
        boot.claim()  # a refusal halts the endpoints
        return b""


def _overlap(segment: Segment, sector: int) -> int:
    return max(0, min(segment.region.end, sector + SECTOR) - max(segment.address, sector))


def no_progress(_done: int, _total: int) -> None:
    """Progress that nobody asked for."""
