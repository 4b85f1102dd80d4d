"""What goes wrong over a network, in the drivers' categories."""

from __future__ import annotations

import re
import socket
import ssl

from drivers.base import (
    BadImage,
    Category,
    ConnectionLost,
    DeviceError,
    FlashFailed,
    NetworkFailed,
    PhaseTimeout,
    VerificationFailed,
)

_LONGEST_READ = 2000
_LONGEST_QUOTE = 200


class AccessDenied(DeviceError):
    category = Category.PERMISSION
    default_advice = "Nothing was written. Check the password that the options refer to; the board asks for another."


class UntrustedServer(DeviceError):
    category = Category.NETWORK
    default_advice = (
        "Nothing was sent. Give the certificate authority's file as the option `ca_file`, "
        "or check who answers at this address."
    )


class NoUpdater(DeviceError):
    category = Category.NETWORK
    default_advice = "Nothing was written. Check the options `updater` and `path` against what runs on the board."


class LinkLost(ConnectionLost):
    default_advice = "Check the board's power and its network, and that this machine reaches it steadily."


class UnknownAnswer(ConnectionLost):
    default_advice = "Check the option `updater` against what runs on the board."


# What the Arduino cores' `Update` says (arduino-esp32 Updater.cpp, esp8266/Arduino Updater.cpp), and what it is to us.
_BY_WORDS: tuple[tuple[str, type[DeviceError]], ...] = (
    ("MD5 parameter", NoUpdater),
    ("Wrong origin", NoUpdater),
    ("MD5", VerificationFailed),
    ("Could not end OTA", VerificationFailed),
    ("Could Not Activate The Firmware", VerificationFailed),
    ("Signature", VerificationFailed),
    ("Magic", BadImage),
    ("Not Enough Space", BadImage),
    ("Bad Size Given", BadImage),
    ("lash config wrong", BadImage),
    ("Partition Could Not be Found", BadImage),
    ("Flash ", FlashFailed),
    ("Decryption", BadImage),
)


def refusal(words: str) -> DeviceError:
    """The error for what a board says about an update that it did not take. What it had runs on."""
    kinds = (kind for part, kind in _BY_WORDS if part in words)
    kind = next(kinds, FlashFailed)
    advice = "What it had runs on. Read the board's words, and check its power supply." if kind is FlashFailed else None
    return kind(f"the board refused the update: {quoted(words)}", advice=advice)


def quoted(words: str) -> str:
    """A board's words for a message: one line, without markup and control characters, not too long."""
    plain = re.sub(r"<[^>]*>", " ", words[:_LONGEST_READ])
    text = "".join(letter if letter.isprintable() else " " for letter in plain)
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…"


def translate(error: Exception, doing: str) -> DeviceError:
    """The driver's error for a socket's; `doing` says what was being done, for the message."""
    return _kind(error)(f"{doing}: {error or type(error).__name__}")


def _kind(error: Exception) -> type[DeviceError]:
    if isinstance(error, ssl.SSLError):
        return UntrustedServer if isinstance(error, ssl.SSLCertVerificationError) else NetworkFailed
    if isinstance(error, TimeoutError):
        return PhaseTimeout
    if isinstance(error, socket.gaierror | ConnectionRefusedError):
        return NetworkFailed
    if isinstance(error, ConnectionError):
        return LinkLost
    return NetworkFailed if isinstance(error, OSError) else DeviceError
