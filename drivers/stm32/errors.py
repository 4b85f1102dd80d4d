"""The boot loader's refusals, pyserial's and the system's errors, translated once into the drivers' family."""

from __future__ import annotations

import errno

import serial

from drivers.base import (
    ConnectionLost,
    DeviceError,
    PortPermission,
    PortUnavailable,
    WrongBoard,
)
from drivers.stm32.protocol import LoaderError

_BY_ERRNO: dict[int, type[DeviceError]] = {
    errno.EACCES: PortPermission,
    errno.EPERM: PortPermission,
    errno.ENOENT: PortUnavailable,
    errno.ENODEV: PortUnavailable,
    errno.ENXIO: PortUnavailable,
    errno.EBUSY: PortUnavailable,
    errno.EAGAIN: PortUnavailable,
    errno.ECONNREFUSED: PortUnavailable,
}


def translate(error: Exception, doing: str) -> DeviceError:
    """The driver's error for a library's; `doing` says what was being done, for the message."""
    if isinstance(error, DeviceError):
        return error
    text = " ".join(str(error).split()) or type(error).__name__
    return _kind(error, text)(f"{doing}: {text}")


def protected() -> WrongBoard:
    """Readout protection, which is never lifted here: that erases the only copy of what the chip holds."""
    return WrongBoard(
        "the boot loader refuses to read the flash: readout protection (RDP) is active on this chip",
        advice="Nothing was written, and the protection was not lifted, since that erases the whole flash. If nothing "
        "on the chip is worth keeping: stm32flash -k PORT, then run again.",
    )


def _kind(error: Exception, text: str) -> type[DeviceError]:
    if isinstance(error, OSError) and error.errno in _BY_ERRNO:
        return _BY_ERRNO[error.errno]
    if isinstance(error, serial.SerialException):
        if "Permission denied" in text:
            return PortPermission
        if "could not open port" in text.lower() or "exclusively lock" in text:
            return PortUnavailable
    # A NACK too is a lost connection: of a frame that noise has spoilt. Where it says more, that was said before.
    if isinstance(error, (LoaderError, OSError)):  # pyserial's exceptions are OSErrors
        return ConnectionLost
    return DeviceError
