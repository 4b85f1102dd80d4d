"""One board in its boot loader: over the drive, and over PICOBOOT. See `drivers.base.Session` for the contract."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from drivers import pico_flash, pico_image, pico_uf2, usb_devices
from drivers.base import (
    BadImage,
    BootFailed,
    ConnectionLost,
    DeviceError,
    Identity,
    Link,
    Log,
    Progress,
    Region,
    Segment,
    VerificationFailed,
    WrongBoard,
)
from drivers.pico_app import AppPort
from drivers.pico_drive import BootDrive, share
from drivers.pico_errors import translate_drive, translate_usb
from drivers.pico_options import PicoOptions
from drivers.pico_uf2 import FLASH_BASE, SECTOR, Family
from drivers.picoboot import Picoboot

if TYPE_CHECKING:
    from usb.core import Device

_POLL_S = 0.1
_TOUCH_AGAIN_S = 5.0  # an application that was just starting did not hear the first one
_READ_CHUNK = 0x8000  # bytes of one READ
_REBOOT_MS = 100
_LOADER_AGAIN_S = 1.0  # how often a silent board is looked for in its boot loader
_ROM_VERSION = 0x13  # behind the ROM's magic "Mu" and a 1 or 2
_PAGE = 256
_ERASED_PAGE = b"\xff" * _PAGE
_STEPPINGS = {  # by the ROM's version: RP2040 datasheet 2.8.2, RP2350's as picotool names them
    ("rp2040", 1): "B0",
    ("rp2040", 2): "B1",
    ("rp2040", 3): "B2",
    ("rp2350", 2): "A2",
    ("rp2350", 3): "A3",
    ("rp2350", 4): "A4",
}
USUAL_FLASH = {"rp2040": 2 << 20, "rp2350": 4 << 20}  # bytes: Raspberry Pi's own boards
_BY_HAND = "Hold BOOTSEL while plugging the board in, then run it again."


class PicoSession:
    """What both ways have in common: getting into the boot loader, the console, and what can not be done."""

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
                    advice="The image was written, but the boot ROM does not accept it: build it for this chip.",
                )
            return said

    def _is_back_in_loader(self) -> bool:
        raise NotImplementedError

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        raise NotImplementedError
        yield

    def _enter_loader(self, is_there: Callable[[float], bool]) -> None:
        """`is_there` waits up to so many seconds for the boot loader."""
        deadline = time.monotonic() + self._link.connect_timeout_s
        if is_there(0.0):
            return
        touched = False
        while (left_s := deadline - time.monotonic()) > 0:
            touched = self._app.touch() or touched
            if is_there(min(_TOUCH_AGAIN_S, left_s)):
                return
        raise ConnectionLost(self._why_no_loader(touched), advice=_BY_HAND)

    def _why_no_loader(self, touched: bool) -> str:
        within = f"within {self._link.connect_timeout_s:g} s"
        if touched:
            return f"the application did not start the boot loader {within}, although it was asked to at 1200 baud"
        if self._app.is_named:
            return f"neither the boot loader nor the application's port {self._link.port} was there {within}"
        return f"the boot loader was not there {within}, and no `port` of an application that could start it is named"

    def _wait_for_application(self) -> None:
        """Its port, where one is named; so that nothing of what it says is lost."""
        if self._app.is_named and not self._app.open(self._link.connect_timeout_s):
            raise BootFailed(
                f"the boot loader has left, but the application's port {self._link.port} did not come within "
                f"{self._link.connect_timeout_s:g} s"
            )

    def _refuse_wrong_image(self, segments: Sequence[Segment], chip: str) -> pico_image.Startable | None:
        """Raises `BadImage` for an image that this chip would not start; None where it has no beginning to judge by."""
        head = pico_image.from_segments(segments)(FLASH_BASE, pico_image.HEAD_SIZE)
        if not head:
            return None
        startable = pico_image.startable(head)
        if chip not in startable.chips:
            made_for = " and ".join(startable.chips) or "neither chip"
            raise BadImage(f"the image can be started by {made_for}, the board is an {chip.upper()}")
        return startable

    def close(self) -> None:
        self._app.close()


class DriveSession(PicoSession):
    """The boot drive: it can be written to, and nothing else."""

    def __init__(self, link: Link, options: PicoOptions, log: Log) -> None:
        super().__init__(link, options, log)
        self._drive = BootDrive(link.mount_point, log)
        self._identity: Identity | None = None
        self._leaving = False  # written, and on its way into the application

    def connect(self) -> Identity:
        with self._translated("connect"):
            self._identity, self._leaving = None, False
            self._app.close()
            self._enter_loader(self._drive.wait)
            info = self._drive.info()
            size = self._options.flash_size or USUAL_FLASH[info.chip]
            # The drive tells neither serial number nor size: that the image fits is checked against the options'.
            self._identity = Identity(info.chip, info.revision, "", size, FLASH_BASE)
            return self._identity

    def read(self, region: Region, progress: Progress) -> bytes:  # noqa: ARG002
        raise DeviceError("the boot drive can not be read back", advice="Use the device type pico-usb for that.")

    def holds(self, segment: Segment) -> bool | None:  # noqa: ARG002
        """Nothing tells before the application runs."""
        return None

    def installed_version(self, address: int) -> str | None:  # noqa: ARG002
        return None

    def write(self, segments: Sequence[Segment], progress: Progress) -> None:
        with self._translated("copy the firmware to the boot drive"):
            identity, self._identity = self._identity, None
            if identity is None:
                raise ConnectionLost("the session has no boot drive to write to; connect first")
            _refuse_misfit(segments, identity)
            startable = self._refuse_wrong_image(segments, identity.chip)
            data = self._file(segments, identity.chip, startable)
            total = sum(len(segment.data) for segment in segments)
            self._drive.copy(data, share(progress, len(data), total))
            self._leaving = True

    def _file(self, segments: Sequence[Segment], chip: str, startable: pico_image.Startable | None) -> bytes:
        if chip == "rp2040":
            return pico_uf2.build(segments, Family.RP2040, absolute_block=False)
        riscv = startable is not None and startable.riscv
        family = Family.RP2350_RISCV if riscv else Family.RP2350_ARM_S
        return pico_uf2.build(segments, family, absolute_block=self._options.absolute_block)

    def reset(self) -> None:
        with self._translated("start the application"):
            if not self._leaving and self._drive.is_there:
                self._reboot_over_usb()
            self._identity = None
            self._wait_for_application()

    def _reboot_over_usb(self) -> None:
        """The drive has no command for it."""
        if not self._link.usb:
            raise ConnectionLost(
                "the board is in its boot loader, and a boot drive has no command that starts the application",
                advice="Unplug the board and plug it in again; or name its boot loader on USB as `usb`.",
            )
        other = UsbSession(self._link, self._options, self._log)
        try:
            other.connect()
            other.reboot()
        finally:
            other.close()

    def _is_back_in_loader(self) -> bool:
        return self._drive.is_there

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            # The one place where its errors are translated. After it, nothing is known of the board.
            self._identity = None
            self._app.close()
            raise translate_drive(error, doing) from error
        except BaseException:
            self._identity = None  # a time limit
            raise


class UsbSession(PicoSession):
    """PICOBOOT: everything can be read back."""

    def __init__(self, link: Link, options: PicoOptions, log: Log) -> None:
        super().__init__(link, options, log)
        self._device: Device | None = None
        self._boot: Picoboot | None = None
        self._identity: Identity | None = None
        self._looked_at = 0.0

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
        found = pico_flash.flash_size(boot.read)
        wanted = self._options.flash_size
        if wanted is None:
            if found is None:
                self._log(f"the flash is erased, its size can not be seen: taken for {USUAL_FLASH[chip]} bytes")
            return found or USUAL_FLASH[chip]
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
        start = region.address - region.address % _PAGE
        data = bytearray()
        while start + len(data) < region.end:
            size = min(_READ_CHUNK, region.end - start - len(data))
            data += self._loader.read(start + len(data), size)
            progress(max(0, start + len(data) - region.address), region.size)
        return bytes(data[region.address - start :])

    def holds(self, segment: Segment) -> bool | None:
        return self.read(segment.region, _nobody) == segment.data

    def installed_version(self, address: int) -> str | None:
        with self._translated("read the firmware's description"):
            identity = self._known

            def read(start: int, size: int) -> bytes:
                inside = min(size, identity.flash.end - start)
                if start < identity.flash.address or inside <= 0:
                    return b""
                return self._read(Region(start, inside), _nobody)

            return pico_image.describe(read, address).version

    def write(self, segments: Sequence[Segment], progress: Progress) -> None:
        with self._translated("write the flash"):
            _refuse_misfit(segments, self._known)
            self._refuse_wrong_image(segments, self._known.chip)
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
        self._loader.erase(address, SECTOR)
        for at in range(0, SECTOR, _PAGE):
            page = data[at : at + _PAGE]
            if page != _ERASED_PAGE:
                self._loader.write(address + at, page)
        if self._loader.read(address, SECTOR) != data:
            raise VerificationFailed(f"the sector at {address:#x} does not hold what was written to it")

    def reset(self) -> None:
        with self._translated("start the application"):
            if self._boot is not None or self._device is not None or self._found(0.0):
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

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            # The one place where its errors are translated; the device goes with it, its endpoints are halted.
            self._release()
            self._app.close()
            raise translate_usb(error, doing) from error
        except BaseException:
            self._release()  # a time limit ended it in the middle of an exchange
            raise

    def _release(self) -> None:
        device, self._device, self._boot, self._identity = self._device, None, None, None
        if device is not None:
            usb_devices.release(device)

    def close(self) -> None:
        self._release()
        super().close()


def _overlap(segment: Segment, sector: int) -> int:
    return max(0, min(segment.region.end, sector + SECTOR) - max(segment.address, sector))


def _refuse_misfit(segments: Sequence[Segment], identity: Identity) -> None:
    for segment in segments:
        if segment.address < identity.writable.address or segment.region.end > identity.writable.end:
            raise BadImage(
                f"{segment.name or 'the image'} covers {segment.address:#x} to {segment.region.end:#x}, the flash "
                f"{identity.writable.address:#x} to {identity.writable.end:#x}: beyond it, addresses wrap to its beginning"
            )


def _nobody(_done: int, _total: int) -> None:
    """Progress that nobody asked for."""
