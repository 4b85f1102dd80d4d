"""The system's, pyserial's and pyusb's errors with a Pico, translated once into the drivers' family."""

from __future__ import annotations

import errno

import serial

from drivers.base import (
    BadImage,
    ConnectionLost,
    DeviceError,
    FlashFailed,
    PortInUse,
    PortPermission,
    PortUnavailable,
    WrongBoard,
)
from drivers.pico import picoboot
from drivers.pico.usb_devices import PERMISSION_ADVICE
from drivers.translation import LOST_PORT, in_one_line

_LOST = "Check the cable and the board's power. If it does not come back: hold BOOTSEL while plugging it in."
_DRIVE_PERMISSION = "Mount the boot drive so that you may write to it (for example with -o uid=$UID), then try again."
_READ_ONLY = (
    "The boot drive is mounted read-only: mount it again read-write. A drive that stays so is damaged, or no Pico."
)
_FULL = "The boot drive takes 128 MiB. One that is full is no Pico's, or was mounted wrongly: unplug the board."

_BY_STATUS: dict[picoboot.Status, type[DeviceError]] = {
    picoboot.Status.INVALID_ADDRESS: BadImage,
    picoboot.Status.NOT_PERMITTED: WrongBoard,
    picoboot.Status.REBOOTING: ConnectionLost,
    picoboot.Status.INTERLEAVED_WRITE: FlashFailed,
}


def translate_drive(error: Exception, doing: str) -> DeviceError:
    """For what happens with the drive or the application's port."""
    number = error.errno if isinstance(error, OSError) else None
    text = f"{doing}: {in_one_line(error)}"
    if isinstance(error, serial.SerialException):
        return (PortPermission if number in (errno.EACCES, errno.EPERM) else PortUnavailable)(text)
    if number in (errno.EACCES, errno.EPERM):
        return PortPermission(text, advice=_DRIVE_PERMISSION)
    if number == errno.EROFS:
        return PortPermission(text, advice=_READ_ONLY)
    if number == errno.ENOSPC:
        return FlashFailed(text, advice=_FULL)
    if isinstance(error, LOST_PORT):
        return ConnectionLost(text, advice=_LOST)
    return DeviceError(text)


def translate_usb(error: Exception, doing: str) -> DeviceError:
    """For what happens on the way to PICOBOOT."""
    text = f"{doing}: {in_one_line(error)}"
    if isinstance(error, picoboot.Refused):
        kind = _BY_STATUS.get(error.status, FlashFailed) if error.status is not None else FlashFailed
        return kind(text)
    if isinstance(error, picoboot.Garbled):
        return ConnectionLost(text, advice=_LOST)
    if not _is_usb(error):
        return translate_drive(error, doing)
    number = getattr(error, "errno", None)
    if number in (errno.EACCES, errno.EPERM):
        return PortPermission(text, advice=PERMISSION_ADVICE)
    if number == errno.EBUSY:
        return PortInUse(text, advice="Another program works with the board: end picotool, or a virtual machine.")
    return ConnectionLost(text, advice=_LOST)


def _is_usb(error: Exception) -> bool:
    return type(error).__module__.startswith("usb.")
