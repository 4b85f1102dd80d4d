"""ESPHome's native updates: bytes to send, bytes to understand. Pure.

Source: ESPHome 2026.6 `espota2.py` and `components/esphome/ota/ota_esphome.cpp`; the codes of later ones from their
sources. Client features are offered, the board takes what it knows.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from dataclasses import dataclass
from enum import IntEnum, IntFlag

from drivers.base import BadImage, DeviceError, FlashFailed, NetworkFailed, VerificationFailed, WrongBoard
from drivers.ota.errors import AccessDenied

MAGIC = bytes.fromhex("6c26f75c45")
VERSIONS = frozenset({1, 2})
CHUNK = 8192  # bytes, after each of which a board of version 2 says CHUNK_OK
APP_UPDATE = b"\x00"  # the type of an update, where the extended protocol was agreed on
_GZIP = b"\x1f\x8b"


class Answer(IntEnum):
    """What a board says in one byte when it goes well."""

    OK = 0x00
    ASKS_MD5 = 0x01
    ASKS_SHA256 = 0x02
    HEADER_OK = 0x40
    AUTH_OK = 0x41
    PREPARE_OK = 0x42
    MD5_OK = 0x43
    RECEIVE_OK = 0x44
    END_OK = 0x45
    TAKES_COMPRESSED = 0x46
    CHUNK_OK = 0x47
    FEATURE_FLAGS = 0x48


class Client(IntFlag):
    """What this side can do."""

    COMPRESSION = 0x01
    SHA256 = 0x02
    EXTENDED = 0x04


OFFER = bytes([Client.COMPRESSION | Client.SHA256 | Client.EXTENDED])
_SERVER_TAKES_COMPRESSED = 0x01


@dataclass(frozen=True)
class Features:
    """What was agreed on."""

    compressed: bool
    extended: bool


def features(answer: int, flags: int) -> Features:
    """From the answer to `OFFER`; `flags` is the byte that follows FEATURE_FLAGS, else of no meaning."""
    if answer == Answer.FEATURE_FLAGS:
        return Features(compressed=bool(flags & _SERVER_TAKES_COMPRESSED), extended=True)
    return Features(compressed=answer == Answer.TAKES_COMPRESSED, extended=False)


def payload(name: str, image: bytes, *, compressed: bool) -> bytes:
    """What is sent of an image: gzip where the board unpacks it. Raises `BadImage` for what it would not."""
    if image.startswith(_GZIP):
        if not compressed:
            raise BadImage(f"{name} is compressed, and the board does not unpack it")
        return image
    return gzip.compress(image, 9, mtime=0) if compressed else image


@dataclass(frozen=True)
class Scheme:
    """How a board asks for the password: a digest over password, its nonce and ours, each in hex."""

    algorithm: str
    size: int  # of a nonce and of the proof, in hex digits

    def proof(self, password: str, nonce: bytes, own: str) -> bytes:
        """Own nonce and proof. Raises `NetworkFailed` for a nonce that is none."""
        if not re.fullmatch(rb"[0-9a-fA-F]{%d}" % self.size, nonce):
            raise NetworkFailed("the board's nonce can not be understood")
        digest = hashlib.new(self.algorithm, password.encode() + nonce + own.encode(), usedforsecurity=False)
        return own.encode() + digest.hexdigest().encode()


SCHEMES = {
    int(Answer.ASKS_MD5): Scheme("md5", 32),  # before ESPHome 2025.10
    int(Answer.ASKS_SHA256): Scheme("sha256", 64),
}


@dataclass(frozen=True)
class Refusal:
    """What an error byte means for a person."""

    kind: type[DeviceError]
    text: str
    advice: str | None = None


_OVER_USB = "Nothing was written. Flash this board over USB once, with ESPHome or a batch over its serial port."

REFUSALS: dict[int, Refusal] = {
    0x80: Refusal(BadImage, "it is no image for this board (its first byte is wrong)"),
    0x81: Refusal(
        FlashFailed, "it could not prepare its flash; is the image too big?", "Restart the board, try again."
    ),
    0x82: Refusal(AccessDenied, "it does not accept the password"),
    0x83: Refusal(FlashFailed, "writing its flash failed"),
    0x84: Refusal(VerificationFailed, "it could not finish the update: it finds the image invalid"),
    0x85: Refusal(
        WrongBoard,
        "it has not been reset since it was flashed over USB",
        "Nothing was written. Press its reset button once, and try again.",
    ),
    0x86: Refusal(WrongBoard, "its running firmware is configured for a larger flash than it has", _OVER_USB),
    0x87: Refusal(BadImage, "the new firmware is configured for a larger flash than it has"),
    0x88: Refusal(BadImage, "it has no room for the image beside the running firmware"),
    0x89: Refusal(BadImage, "the image is larger than its OTA partition"),
    0x8A: Refusal(WrongBoard, "it has no OTA partition to update", _OVER_USB),
    0x8B: Refusal(VerificationFailed, "the MD5 of what it received is not the image's"),
    0x8C: Refusal(BadImage, "it has no room for the image beside the running firmware"),
    0x8D: Refusal(BadImage, "the image is not signed with the key that it asks for"),
    0x8E: Refusal(WrongBoard, "it does not take updates of the application"),
    0x8F: Refusal(FlashFailed, "it could not verify a partition table"),
    0x90: Refusal(FlashFailed, "it could not update its partition table"),
    0x91: Refusal(FlashFailed, "it could not verify a boot loader"),
    0x92: Refusal(FlashFailed, "it could not update its boot loader"),
    0x93: Refusal(BadImage, "it takes later versions than its own only"),
    0x94: Refusal(
        AccessDenied,
        "it takes encrypted updates only, which this driver does not speak",
        "Nothing was written. Take `encryption:` out of its `ota:` configuration, and give it a password instead.",
    ),
    0xFF: Refusal(FlashFailed, "an error that it has no number for"),
}
ERROR_FROM = 0x80


def refusal(code: int) -> DeviceError:
    """The error for a board's error byte."""
    known = REFUSALS.get(code)
    if known is None:
        return FlashFailed(f"the board refuses the update with an unknown error ({code:#04x})")
    return known.kind(f"the board refuses the update: {known.text} ({code:#04x})", advice=known.advice)
