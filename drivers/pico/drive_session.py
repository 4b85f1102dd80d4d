"""One board over its boot drive."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

from drivers.base import ConnectionLost, DeviceError, Identity, Link, Log, Progress, Region, Segment
from drivers.pico import image as pico_image
from drivers.pico import uf2 as pico_uf2
from drivers.pico.drive import BootDrive, share
from drivers.pico.errors import translate_drive
from drivers.pico.image import FLASH_BASE
from drivers.pico.options import PicoOptions
from drivers.pico.session import USUAL_FLASH, PicoSession, refuse_misfit
from drivers.pico.uf2 import Family
from drivers.pico.usb_session import UsbSession
from drivers.translation import translated


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
            refuse_misfit(segments, identity)
            data = self._file(segments, identity.chip)
            total = sum(len(segment.data) for segment in segments)
            self._listen_early()
            self._drive.copy(data, share(progress, len(data), total))
            self._leaving = True

    def _file(self, segments: Sequence[Segment], chip: str) -> bytes:
        if chip == "rp2040":
            return pico_uf2.build(segments, Family.RP2040, absolute_block=False)
        riscv = pico_image.startable(pico_image.head_of(segments)).riscv
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

    def _translated(self, doing: str) -> AbstractContextManager[None]:
        return translated(translate_drive, doing, failed=self._let_go, cut_short=self._forget)

    def _let_go(self) -> None:
        self._forget()
        self._app.close()

    def _forget(self) -> None:
        self._identity = None
