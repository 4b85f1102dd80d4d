"""ArduinoOTA's datagrams from the side of who updates: texts to send, answers to understand. Pure.

Source: arduino-esp32 `tools/espota.py` (3.3.x) and esp8266/Arduino `tools/espota.py`.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import Enum, IntEnum, auto

_PBKDF2_ROUNDS = 10_000
_NONCE = re.compile(r"AUTH ([0-9a-fA-F]{64}|[0-9a-fA-F]{32})\s*")
_COUNTS = re.compile(rb"[0-9\s]*")


class Command(IntEnum):
    """The first number of a datagram. What else espota knows (100, a file system) overwrites in place: not for us."""

    FLASH = 0
    AUTHENTICATE = 200


class Scheme(Enum):
    """How the password is hashed before the nonce comes in; which of both SHA-256 ones, only a failure tells."""

    MD5 = auto()  # until arduino-esp32 3.3.0, and on every ESP8266
    SHA256 = auto()  # since 3.3.1
    SHA256_OF_MD5 = auto()  # since 3.3.1, where the sketch has kept the MD5 of its password


class Said(Enum):
    """What an answer is."""

    OK = auto()
    AUTHENTICATE = auto()
    REFUSED = auto()


@dataclass(frozen=True)
class Answer:
    """A board's datagram; `text` is the nonce, or its words."""

    said: Said
    text: str = ""

    @property
    def scheme(self) -> Scheme:
        """The one to begin with, by the nonce's length."""
        return Scheme.MD5 if len(self.text) == 32 else Scheme.SHA256


def invitation(port: int, image: bytes) -> bytes:
    """Come and fetch this image at a port of mine."""
    digest = hashlib.md5(image, usedforsecurity=False).hexdigest()
    return f"{Command.FLASH:d} {port} {len(image)} {digest}\n".encode()


def cancellation() -> bytes:
    """What ends a board's waiting for an authentication without a word, and without an error that it would count."""
    return b"0\n"


def parse_answer(data: bytes) -> Answer:
    """Anything that is neither OK nor a nonce is a refusal, in the board's words."""
    text = data.decode("utf-8", "replace")
    if text.strip() == "OK":
        return Answer(Said.OK)
    found = _NONCE.fullmatch(text)
    if found:
        return Answer(Said.AUTHENTICATE, found[1])
    return Answer(Said.REFUSED, text)


def response(scheme: Scheme, password: str, nonce: str, seed: bytes) -> bytes:
    """The answer to a nonce; `seed` is what the client's own nonce is made of: new random bytes each time."""
    if scheme is Scheme.MD5:
        cnonce = _md5(seed)
        proof = _md5(f"{_md5(password.encode())}:{nonce}:{cnonce}".encode())
    else:
        cnonce = hashlib.sha256(seed).hexdigest()
        kept = _md5(password.encode()) if scheme is Scheme.SHA256_OF_MD5 else _sha256(password.encode())
        key = hashlib.pbkdf2_hmac("sha256", kept.encode(), f"{nonce}:{cnonce}".encode(), _PBKDF2_ROUNDS).hex()
        proof = _sha256(f"{key}:{nonce}:{cnonce}".encode())
    return f"{Command.AUTHENTICATE:d} {cnonce} {proof}\n".encode()


def words(stream: bytes) -> str:
    """What a board has said by TCP but for its byte counts, which run into each other and into the OK: "1024OK"."""
    counts = _COUNTS.match(stream)
    assert counts is not None
    return stream[counts.end() :].decode("utf-8", "replace").strip()


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
