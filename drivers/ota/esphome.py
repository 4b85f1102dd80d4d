"""ESPHome boards, updated by its native protocol: what `esphome upload` speaks.

A client of our own, small: the `esphome` package pins esptool, smpclient and zeroconf to versions of its own.
"""

from __future__ import annotations

import math
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import md5

from pydantic import Field, SecretStr

from drivers.base import (
    DeviceError,
    Link,
    Log,
    NetworkFailed,
    Progress,
    Segment,
    TypeDefaults,
)
from drivers.ota import esphome_protocol as protocol
from drivers.ota.driver import UpdateDriver
from drivers.ota.errors import AccessDenied, LinkLost
from drivers.ota.esphome_protocol import Answer, Features
from drivers.ota.session import START_S, UPDATED_BY_NETWORK, StatusOptions, UpdateSession
from drivers.secrets import Secret

_LOOK_S = 3.0  # a board that restarts has taken the connection, and forgotten it


class EsphomeOptions(StatusOptions):
    """What may stand under `options` of such a target."""

    password: Secret | None = Field(default=None, description="Where the password of `ota:` is.")


class Peer:
    """One connection with a board: bytes out, single answers in. Raises a board's error byte as what it means."""

    def __init__(self, connection: socket.socket, trace: Log | None) -> None:
        self._connection = connection
        self._trace = trace
        self.has_refused = False

    def _tell(self, text: str) -> None:
        if self._trace is not None:
            self._trace(text)

    def send(self, data: bytes) -> None:
        self._tell(f"to the board: {len(data)} bytes")  # and no more: a proof could be tried against passwords
        try:
            self._connection.sendall(data)
        except ConnectionError:
            self._hear_why()
            raise

    def _hear_why(self) -> None:
        """A board that closes in the middle may have said why before it did."""
        try:
            said = self._connection.recv(1)
        except OSError:
            return
        if said and said[0] >= protocol.ERROR_FROM:
            raise self._refusal(said[0])

    def _refusal(self, code: int) -> DeviceError:
        self.has_refused = True
        return protocol.refusal(code)

    def byte(self) -> int:
        """The board's next byte, which is no error."""
        (said,) = self.bytes(1)
        self._tell(f"from the board: {said:#04x}")
        if said >= protocol.ERROR_FROM:
            raise self._refusal(said)
        return said

    def bytes(self, size: int) -> bytes:
        """Exactly so many; the first one is not looked at."""
        data = b""
        while len(data) < size:
            more = self._connection.recv(size - len(data))
            if not more:
                raise LinkLost("the board has closed the connection")
            data += more
        return data

    def expect(self, *wanted: Answer) -> int:
        """One of these answers."""
        said = self.byte()
        if said not in wanted:
            names = " or ".join(answer.name for answer in wanted)
            raise NetworkFailed(f"the board says {said:#04x} in the place of {names}: it does not speak this protocol")
        return said


class EsphomeSession(UpdateSession):
    """See `drivers.base.Session` for the contract."""

    def __init__(self, link: Link, options: EsphomeOptions, log: Log) -> None:
        super().__init__(link, options, log)
        self._password = SecretStr(options.password.value()) if options.password else None

    def _probe(self) -> None:
        """As far as the password: whether it is right is known before anything else happens."""
        with self._connected_to() as peer:
            self._greet(peer)

    @property
    def _board_checks(self) -> bool:
        return True  # by the MD5 of what it receives

    @contextmanager
    def _connected_to(self, most_s: float = math.inf) -> Iterator[Peer]:
        """A connection, which waits no longer than `most_s` seconds for anything."""
        timeout_s = min(self._link.connect_timeout_s, most_s)
        with socket.create_connection((self._ip, self._address.port), timeout_s) as connection:
            connection.settimeout(min(self._link.read_timeout_s, most_s))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            yield Peer(connection, self._log if self._link.trace else None)

    def _greet(self, peer: Peer) -> tuple[int, Features]:
        """(protocol version, features) of a board that takes an update from us now."""
        version = self._version(peer)
        peer.send(protocol.OFFER)
        answer = peer.byte()
        flags = peer.byte() if answer == Answer.FEATURE_FLAGS else 0
        asks = peer.expect(Answer.AUTH_OK, Answer.ASKS_MD5, Answer.ASKS_SHA256)
        if asks != Answer.AUTH_OK:
            self._authenticate(peer, protocol.SCHEMES[asks])
        elif self._password is not None:
            self._log("the board asks for no password, although the options have one")
        return version, protocol.features(answer, flags)

    @staticmethod
    def _version(peer: Peer) -> int:
        peer.send(protocol.MAGIC)
        peer.expect(Answer.OK)
        version = peer.byte()
        if version not in protocol.VERSIONS:
            raise NetworkFailed(f"the board speaks version {version} of the protocol, this driver 1 and 2")
        return version

    def _authenticate(self, peer: Peer, scheme: protocol.Scheme) -> None:
        if self._password is None:
            raise AccessDenied(
                f"{self._address} asks for a password, and the options have none",
                advice="Nothing was written. Give the option `password`.",
            )
        nonce = peer.bytes(scheme.size)
        own = secrets.token_hex(scheme.size // 2)
        peer.send(scheme.proof(self._password.get_secret_value(), nonce, own))
        peer.expect(Answer.AUTH_OK)

    def _send(self, segment: Segment, progress: Progress) -> None:
        with self._connected_to() as peer:
            version, features = self._greet(peer)
            data = protocol.payload(segment.name, segment.data, compressed=features.compressed)
            if features.compressed:
                self._log(f"{len(segment.data)} bytes compressed to {len(data)}")
            try:
                self._announce(peer, data, features)
                self._stream(peer, data, version, _Scaled(progress, len(data), len(segment.data)))
            except DeviceError:
                if peer.has_refused:
                    self._refused()
                raise
            with suppress(DeviceError, OSError):  # the board restarts with or without it
                peer.send(bytes([Answer.OK]))

    @staticmethod
    def _announce(peer: Peer, data: bytes, features: Features) -> None:
        """The board makes room (erases) before it answers."""
        if features.extended:
            peer.send(protocol.APP_UPDATE)
        peer.send(len(data).to_bytes(4, "big"))
        peer.expect(Answer.PREPARE_OK)
        peer.send(md5(data, usedforsecurity=False).hexdigest().encode())
        peer.expect(Answer.MD5_OK)

    def _stream(self, peer: Peer, data: bytes, version: int, progress: _Scaled) -> None:
        for at in range(0, len(data), protocol.CHUNK):
            piece = data[at : at + protocol.CHUNK]
            if at + len(piece) == len(data):
                self._sent()
            peer.send(piece)
            if version > 1:
                peer.expect(Answer.CHUNK_OK)
            progress(at + len(piece))
        peer.expect(Answer.RECEIVE_OK)
        peer.expect(Answer.END_OK)
        self._log("the board has checked the image and restarts")

    def _answers(self) -> bool:
        """Whether the updater is there. After its last answer to an update the board hears nothing until it has
        restarted: then this is the restarted one.
        """
        try:
            with self._connected_to(_LOOK_S) as peer:
                self._version(peer)
        except (DeviceError, OSError):
            return False
        return True

    def _sign_of_life(self) -> str:
        if self._watch.alive or not self._answers():
            return ""
        self._watch.alive = True
        return "ESPHome's updater answers; the version is not known (no `version_path`)\n"


@dataclass(frozen=True)
class _Scaled:
    """Progress in bytes of the image, of which fewer may be sent."""

    whole: Progress
    sent_in_all: int
    total: int

    def __call__(self, sent: int) -> None:
        self.whole(self.total * sent // self.sent_in_all, self.total)


# 0x7E0000: the biggest OTA partition of ESPHome's tables (16 MB flash); a board refuses what does not fit its own.
_DEFAULTS = TypeDefaults(flash_address=0, max_firmware_size=0x7E0000, port=3232, start_s=START_S)


def _open(link: Link, log: Log) -> EsphomeSession:
    options = link.options if isinstance(link.options, EsphomeOptions) else EsphomeOptions()
    return EsphomeSession(link, options, log)


ESPHOME = UpdateDriver("esphome", UPDATED_BY_NETWORK, _DEFAULTS, EsphomeOptions, _open)
