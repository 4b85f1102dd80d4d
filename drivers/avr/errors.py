"""avrdude's, pyserial's and the system's errors, translated once into the drivers' family.

avrdude has one exit status for every failure (1), so its words decide (7.1; 8 begins them with a capital letter).
The first match counts, from the most telling to the least: a failed verification ends with "unable to …" too.
"""

from __future__ import annotations

import re

from drivers.base import (
    ConnectionLost,
    DeviceError,
    FlashFailed,
    PortInUse,
    PortPermission,
    PortUnavailable,
    VerificationFailed,
    WrongBoard,
)
from drivers.translation import in_one_line, of_port

_BY_TEXT: tuple[tuple[str, type[DeviceError]], ...] = (
    (r"expected signature for .*", WrongBoard),
    (r"invalid device signature.*", WrongBoard),
    (r"verification mismatch.*|verification error.*|content mismatch.*", VerificationFailed),
    (r"cannot open port .*: Permission denied|can't open device .*: Permission denied", PortPermission),
    (r"cannot open port .*: Device or resource busy|can't open device .*: Device or resource busy", PortInUse),
    (r"cannot open port .*|can't open device .*|cannot connect: .*", PortUnavailable),
    (r".*not in sync.*|.*out of sync.*|.*cannot get into sync.*|.*protocol expects .*", ConnectionLost),
    (r".*(?:programmer|board|device) (?:is not responding|did not respond).*", ConnectionLost),
    (r".*timeout communicating with programmer.*", ConnectionLost),
    (r".*timed? ?out.*|.*read error.*|.*write error.*|.*cannot communicate with.*", ConnectionLost),
    (r".*initiali[sz]ation failed.*|.*unable to open programmer.*|.*getsync.*failed.*", ConnectionLost),
    (r".*(?:unable|failed|cannot) to? ?(?:write|program).*|\*\*\*failed;?.*|.*command failed.*", FlashFailed),
    (r".*(?:unable|failed) to read.*|.*read operation .*failed.*", ConnectionLost),
)

_PREFIX = re.compile(r"^avrdude(?:\.exe)?(?: \w+)*: |^(?:avrdude )?(?:OS )?(?:error|warning): ", re.IGNORECASE)
_SIGNATURE = re.compile(r"device signature = (?:0x)?((?:[0-9a-f]{2} ?){3})", re.IGNORECASE)
_OPTION_UNKNOWN = re.compile(r"(?:invalid|illegal|unrecognized) option")
_HARMLESS = re.compile(r'ioctl\("TIOCM\w+"\)')  # our pty has no modem lines


def from_output(output: str, doing: str) -> DeviceError:
    """The error that avrdude's output tells of; `doing` says what was being done, for the message."""
    lines = [_PREFIX.sub("", line.strip()) for line in re.split(r"[\r\n]+", output)]
    lines = [line for line in lines if line and not _HARMLESS.search(line)]
    if _OPTION_UNKNOWN.search(output):
        return DeviceError(f"{doing}: this avrdude is too old", advice="Install avrdude 7.1 or later.")
    for pattern, kind in _BY_TEXT:
        for line in lines:
            found = re.search(pattern, line, re.IGNORECASE)
            if found:
                return kind(f"{doing}: {found[0].strip()}")
    last = next((line for line in reversed(lines) if "avrdude done" not in line.lower()), "it said nothing")
    return DeviceError(f"{doing}: avrdude failed: {last}")


def from_exception(error: Exception, doing: str) -> DeviceError:
    """The error for one that the port or the system raised."""
    return (of_port(error) or DeviceError)(f"{doing}: {in_one_line(error)}")


def signature(output: str) -> str | None:
    """The chip's signature, in hex, where avrdude named it."""
    found = _SIGNATURE.search(output)
    return found[1].replace(" ", "").lower() if found else None
