"""The edge of a session: what a library or the system raises leaves it as one of the drivers' errors."""

from __future__ import annotations

import errno
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from serial import SerialException

from drivers.base import ConnectionLost, DeviceError, PortInUse, PortPermission, PortUnavailable

LOST_PORT = (OSError, termios.error)
"""What a port raises that has gone: pyserial's exceptions are OSErrors, but it lets termios' through, which is none."""

Translate = Callable[[Exception, str], DeviceError]
"""Takes a library's error and what was being done, for the message."""

_BY_ERRNO: dict[int | None, type[DeviceError]] = {
    errno.EACCES: PortPermission,
    errno.EPERM: PortPermission,
    errno.ENOENT: PortUnavailable,
    errno.ENODEV: PortUnavailable,
    errno.ENXIO: PortUnavailable,
    errno.EBUSY: PortInUse,
    errno.EAGAIN: PortInUse,
    errno.ECONNREFUSED: PortUnavailable,
}


@contextmanager
def translated(
    translate: Translate, doing: str, *, failed: Callable[[], None], cut_short: Callable[[], None]
) -> Iterator[None]:
    """Whatever goes wrong ends as a `DeviceError`, and as no half-working session.

    `failed` is called after an error, `cut_short` after a time limit that ended an exchange in its middle: that one
    has no time to lose, and its exception goes through unchanged.
    """
    try:
        yield
    except Exception as error:
        failed()
        if isinstance(error, DeviceError):
            raise
        raise translate(error, doing) from error
    except BaseException:
        cut_short()
        raise


def of_port(error: Exception) -> type[DeviceError] | None:
    """The kind of what pyserial or the system says of a port; None for an error of something else."""
    if not isinstance(error, LOST_PORT):
        return None
    number = error.errno if isinstance(error, OSError) else None
    if number in _BY_ERRNO:
        return _BY_ERRNO[number]
    text = str(error)
    if isinstance(error, SerialException):  # its RFC2217 client and its locks carry no number
        if "Permission denied" in text:
            return PortPermission
        if "exclusively lock" in text:
            return PortInUse
        if "could not open port" in text.lower():
            return PortUnavailable
    return ConnectionLost


def in_one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
