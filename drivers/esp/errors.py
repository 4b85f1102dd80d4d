"""esptool's, pyserial's and the system's errors, translated once into the drivers' family, by type and result code.

esptool carries the boot loader's result code only in its message ("result was C400: …"), hence the regular expression.
Codes: ESP serial protocol, "Status Bytes" (ROM, first byte 01) and esp-flasher-stub's errors (C0 to C9).
"""

from __future__ import annotations

import re
import struct

from drivers.base import (
    ConnectionLost,
    DeviceError,
    FlashFailed,
    VerificationFailed,
    WrongBoard,
)
from drivers.translation import of_port

_MANUAL = re.compile(r"(?:This can have many causes, )?for troubleshooting steps visit:? \S+", re.IGNORECASE)
_PORT = re.compile(r"\[Errno \d+\] (could not open port \S+): \[Errno \d+\] ([^:]+): '[^']*'")  # pyserial says it twice
_RESULT = re.compile(r"result was ([0-9A-F]{4})")

# What the receiving end could not make sense of: noise on the line.
_LINE_RESULTS = frozenset({"0104", "0105", "0107", "C000", "C100", "C200", "C300", "FF00"})
_FLASH_RESULTS = frozenset(
    {"0106", "0108", "0109", "010A", "010B", "010C", "010D", "C400", "C500", "C600", "C700", "C800", "C900"}
)

_BY_TEXT: tuple[tuple[str, type[DeviceError]], ...] = (
    ("MD5 of file does not match", VerificationFailed),
    ("written flash region is empty", FlashFailed),
    ("Failed to autodetect chip type", WrongBoard),
    ("Unexpected chip", WrongBoard),
    ("Wrong chip argument", WrongBoard),
    ("will not fit", WrongBoard),
    ("Failed to connect", ConnectionLost),
    ("No serial data", ConnectionLost),
    ("No more data", ConnectionLost),
    ("Serial data stream stopped", ConnectionLost),
    ("Packet content transfer stopped", ConnectionLost),
    ("Invalid head of packet", ConnectionLost),
    ("Invalid SLIP escape", ConnectionLost),
    ("Response doesn't match request", ConnectionLost),
    ("byte status response", ConnectionLost),
    ("Corrupt data", ConnectionLost),
    ("Digest mismatch", ConnectionLost),
    ("Expected digest", ConnectionLost),
    ("Read more than expected", ConnectionLost),
    ("Failed to start stub", ConnectionLost),
    ("Guru Meditation", ConnectionLost),
    ("Failed to set baud rate", ConnectionLost),
    ("Failed to set custom baud rate", ConnectionLost),
    ("Unable to verify flash chip connection", ConnectionLost),
    ("Invalid (unsupported) command", ConnectionLost),
)

# A reply that noise has mangled makes esptool fail in its own parsing, with whatever Python raises there.
_PARSING = (struct.error, IndexError, UnicodeDecodeError, KeyError, StopIteration)


def translate(error: Exception, doing: str) -> DeviceError:
    """The driver's error for a library's; `doing` says what was being done ("write flash"), for the message."""
    return _kind(error)(f"{doing}: {_in_one_line(error)}")


def _kind(error: Exception) -> type[DeviceError]:
    text = str(error)
    result = _RESULT.search(text)
    if result:
        return _by_result(result[1])
    of_the_port = of_port(error)
    if of_the_port:
        return of_the_port
    for part, kind in _BY_TEXT:
        if part in text:
            return kind
    return ConnectionLost if isinstance(error, _PARSING) else DeviceError


def _by_result(code: str) -> type[DeviceError]:
    if code in _LINE_RESULTS:
        return ConnectionLost
    if code in _FLASH_RESULTS:
        return FlashFailed
    return DeviceError


def _in_one_line(error: Exception) -> str:
    """The message without esptool's links to its manual, which help nobody at the bench."""
    text = " ".join(_MANUAL.sub("", str(error)).split())
    return _PORT.sub(r"\1: \2", text) or type(error).__name__
