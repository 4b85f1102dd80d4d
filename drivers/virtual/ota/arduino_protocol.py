"""ArduinoOTA's datagrams as the two cores parse and answer them. Pure.

Sources: arduino-esp32 and esp8266/Arduino, `libraries/ArduinoOTA/src/ArduinoOTA.cpp` (`_onRx`); for the SHA-256
authentication, which arduino-esp32 has since 3.3.1, that version's `tools/espota.py` from the other side.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, IntEnum

PBKDF2_ROUNDS = 10_000
_LONGEST_NUMBER = 15  # INT_BUFFER_SIZE - 1; a longer one counts as 0


class Command(IntEnum):
    """The first number of a datagram."""

    FLASH = 0
    FILE_SYSTEM = 100
    AUTHENTICATE = 200


class Authentication(Enum):
    """What an application of each time asks for; the value is the length of its nonce, in hex digits."""

    NONE = 0
    MD5 = 32
    SHA256 = 64


@dataclass(frozen=True)
class Invitation:
    """Come and fetch `size` bytes at a port of the sender's."""

    command: int
    port: int
    size: int
    md5: str


@dataclass(frozen=True)
class Response:
    """The answer to a nonce."""

    cnonce: str
    response: str


def _number(data: bytes) -> tuple[int, bytes]:
    """`parseInt`: blanks, then digits; 0 where there are none. And what is left."""
    found = re.match(rb" *([0-9]*)", data)
    assert found is not None
    digits = found[1]
    if len(digits) > _LONGEST_NUMBER:
        return 0, data[found.end(1) - len(digits) + _LONGEST_NUMBER :]
    return int(digits or b"0"), data[found.end() :]


def _text(data: bytes, end: bytes) -> tuple[str, bytes]:
    """`readStringUntil`: a NUL ends it, too."""
    found = re.match(rb"[^\0" + re.escape(end) + rb"]*", data)
    assert found is not None
    return found[0].decode("latin-1"), data[found.end() + 1 :]


def parse_invitation(data: bytes) -> Invitation | None:
    """None for what an idle board leaves without an answer."""
    command, rest = _number(data)
    if command not in (Command.FLASH, Command.FILE_SYSTEM):
        return None
    port, rest = _number(rest)
    size, rest = _number(rest)
    md5, _ = _text(rest[1:], b"\n")
    if len(md5.strip()) != 32:
        return None
    return Invitation(command, port & 0xFFFF, size, md5.strip())


def parse_response(data: bytes, length: int) -> Response | None:
    """None for what ends the waiting for an authentication without a word."""
    command, rest = _number(data)
    if command != Command.AUTHENTICATE:
        return None
    cnonce, rest = _text(rest[1:], b" ")
    response, _ = _text(rest, b"\n")
    if len(cnonce) != length or len(response) != length:
        return None
    return Response(cnonce, response)


def password_hash(password: str, kind: Authentication, *, stored_md5: bool) -> str:
    """What `setPassword` keeps; with `stored_md5` what a sketch of before 3.3.1 gave to `setPasswordHash`."""
    digest: Callable[[bytes], hashlib._Hash] = hashlib.sha256
    if kind is Authentication.MD5 or stored_md5:
        digest = hashlib.md5
    return digest(password.encode()).hexdigest()


def is_right(response: Response, nonce: str, kept: str) -> bool:
    """Whether somebody who knows the password answered so; the nonce's length says by which method."""
    if len(nonce) == Authentication.MD5.value:
        wanted = hashlib.md5(f"{kept}:{nonce}:{response.cnonce}".encode()).hexdigest()
    else:
        salt = f"{nonce}:{response.cnonce}".encode()
        key = hashlib.pbkdf2_hmac("sha256", kept.encode(), salt, PBKDF2_ROUNDS).hex()
        wanted = hashlib.sha256(f"{key}:{nonce}:{response.cnonce}".encode()).hexdigest()
    return hmac.compare_digest(wanted.encode(), response.response.encode())
