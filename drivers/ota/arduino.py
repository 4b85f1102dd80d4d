"""ArduinoOTA: the board is invited by UDP and fetches the image by TCP, as Arduino's `espota.py` serves it.

What it adds to espota.py: the port that is fetched from is bound first and only the invited board may; the two cores'
orders of answers are told apart by what comes, not by an option; an exchange whose datagrams were lost begins anew.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pydantic import Field, SecretStr

from drivers.base import (
    ConnectionLost,
    Link,
    Log,
    NetworkFailed,
    PhaseTimeout,
    Progress,
    Segment,
    TypeDefaults,
)
from drivers.ota.arduino_protocol import (
    Answer,
    Said,
    Scheme,
    cancellation,
    invitation,
    parse_answer,
    response,
    words,
)
from drivers.ota.driver import UpdateDriver
from drivers.ota.errors import AccessDenied, LinkLost, quoted, refusal
from drivers.ota.session import START_S, UPDATED_BY_NETWORK, USUAL_SLOT, StatusOptions, UpdateSession, Written
from drivers.secrets import Secret

_CHUNK = 1024  # bytes, as espota.py sends; the board says how many it took, and only then come the next
_ANSWER_S = 3.0  # for an answer to a datagram, which may be lost; the ESP8266 begins the update before it says OK
_PROOF_S = 10.0  # as espota.py: 10,000 rounds take an ESP32 some 100 ms, a busy sketch longer
_LONGEST = 0x400  # bytes of an answer
_NONE = ""
_WEB_PORT = 80


class ArduinoOptions(StatusOptions):
    """What may stand under `options` of a target that ArduinoOTA updates."""

    password: Secret | None = Field(default=None, description="Where the sketch's OTA password is.")
    host_port: int = Field(
        default=0, ge=0, le=65535, description="The TCP port that boards fetch from, for a firewall. 0: any free one."
    )


class ArduinoSession(UpdateSession):
    """See `drivers.base.Session` for the contract."""

    def __init__(self, link: Link, options: ArduinoOptions, log: Log) -> None:
        super().__init__(link, options, log)
        self._host_port = options.host_port
        self._password = SecretStr(options.password.value() if options.password else _NONE)

    @property
    def _status_ports(self) -> Sequence[int]:
        """A sketch's web server has a port of its own; a virtual board's is the TCP port of its UDP port's number."""
        return (_WEB_PORT, self._address.port)

    def _probe(self) -> None:
        """With a password only: the board asks for it, and is told to forget the matter.

        Without one an invitation would be accepted at once, and the sketch's `onStart` would stop its work.
        """
        if not self._password.get_secret_value():
            return
        with self._listening() as listener, self._udp() as udp:
            asked = self._invite(udp, invitation(listener.getsockname()[1], b"\xe9"))
            if asked.said is Said.AUTHENTICATE:
                udp.send(cancellation())
            else:
                self._log("the board asks for no password, although the options have one")

    @property
    def _board_checks(self) -> bool:
        return True  # its MD5 is part of the invitation

    @contextmanager
    def _udp(self) -> Iterator[socket.socket]:
        """One socket for a whole exchange: the ESP8266 answers to where the invitation came from.

        Connected, so that nobody else's datagrams are heard, and an unreachable port is.
        """
        family = socket.AF_INET6 if ":" in self._ip else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as udp:
            udp.connect((self._ip, self._address.port))
            yield udp

    @contextmanager
    def _listening(self) -> Iterator[socket.socket]:
        """On the address of this machine from which the board is reached, and which it will call back."""
        with self._udp() as udp:
            ours, family = udp.getsockname()[0], udp.family
        with socket.socket(family, socket.SOCK_STREAM) as listener:
            if self._host_port:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((ours, self._host_port))
            listener.listen(4)
            yield listener

    def _invite(self, udp: socket.socket, text: bytes) -> Answer:
        """Until the board answers. Raises `NetworkFailed` when it does not."""
        deadline = time.monotonic() + self._link.connect_timeout_s
        while time.monotonic() < deadline:
            udp.send(text)
            answer = self._hear(udp, min(_ANSWER_S, max(deadline - time.monotonic(), 0.1)))
            if answer is not None:
                return answer
        raise NetworkFailed(
            f"{self._address} does not answer to an invitation within {self._link.connect_timeout_s:g} s",
            advice="Check the board's power and its address, that its sketch calls ArduinoOTA.handle(), and its port: "
            "3232 on an ESP32, 8266 on an ESP8266.",
        )

    def _hear(self, udp: socket.socket, timeout_s: float) -> Answer | None:
        udp.settimeout(timeout_s)
        try:
            return parse_answer(udp.recv(_LONGEST))
        except TimeoutError:
            return None

    def _send(self, segment: Segment, progress: Progress) -> None:
        with self._listening() as listener:
            self._negotiate(invitation(listener.getsockname()[1], segment.data))
            with self._called_back(listener) as connection:
                self._serve(connection, segment.data, progress)

    def _negotiate(self, text: bytes) -> None:
        """Invite and authenticate, from the beginning where a datagram was lost, until the board says OK."""
        deadline = time.monotonic() + self._link.connect_timeout_s
        scheme: Scheme | None = None
        while True:
            with self._udp() as udp:
                answer: Answer | None = self._invite(udp, text)
                if answer is not None and answer.said is Said.AUTHENTICATE:
                    scheme = self._scheme(answer, scheme)
                    answer = self._authenticate(udp, answer.text, scheme)
            if answer is not None and answer.said is Said.OK:
                return
            if answer is None:
                if time.monotonic() >= deadline:
                    raise NetworkFailed(f"{self._address} does not answer to the password")
                continue
            if scheme is None or "Authentication" not in answer.text:
                raise refusal(answer.text)
            if scheme is not Scheme.SHA256:
                raise AccessDenied(f"{self._address} does not accept the password")
            self._log("not its SHA-256; trying the password's MD5, which a sketch of before 3.3.1 may have kept")
            scheme = Scheme.SHA256_OF_MD5

    def _scheme(self, asked: Answer, before: Scheme | None) -> Scheme:
        if not self._password.get_secret_value():
            raise AccessDenied(
                f"{self._address} asks for a password, and the options have none",
                advice="Nothing was written. Give the option `password`.",
            )
        return asked.scheme if before is None or asked.scheme is Scheme.MD5 else before

    def _authenticate(self, udp: socket.socket, nonce: str, scheme: Scheme) -> Answer | None:
        udp.send(response(scheme, self._password.get_secret_value(), nonce, os.urandom(32)))
        return self._hear(udp, _PROOF_S)

    @contextmanager
    def _called_back(self, listener: socket.socket) -> Iterator[socket.socket]:
        """The board's connection; anybody else's is closed."""
        deadline = time.monotonic() + self._link.connect_timeout_s
        while True:
            listener.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                connection, peer = listener.accept()
            except TimeoutError:
                raise self._no_call() from None
            with connection:
                if peer[0] == self._ip:
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    yield connection
                    return
            self._log(f"a connection from {peer[0]}, which was not invited, is closed")

    def _no_call(self) -> NetworkFailed:
        return NetworkFailed(
            f"{self._address} has accepted the invitation, but does not fetch the image",
            advice="An ESP32 does so where the image is too big for its partition. Otherwise the board can not reach "
            "this machine: open a port in the firewall and give it as the option `host_port`.",
        )

    def _serve(self, connection: socket.socket, image: bytes, progress: Progress) -> None:
        connection.settimeout(self._link.read_timeout_s)
        said = b""
        for at in range(0, len(image), _CHUNK):
            piece = image[at : at + _CHUNK]
            if at + len(piece) == len(image):
                self._sent()
            said = self._exchange(connection, piece, said)
            progress(at + len(piece), len(image))
        self._wait_for_ok(connection, said)

    def _exchange(self, connection: socket.socket, piece: bytes, said: bytes) -> bytes:
        """Send a piece and take what the board says to it; counts alone mean go on."""
        try:
            connection.sendall(piece)
        except ConnectionError:
            # it may have said why before it closed
            raise self._lost(connection, said) from None
        return self._listen(connection, said)

    def _listen(self, connection: socket.socket, said: bytes) -> bytes:
        """What it has said that is no count, with what it says now."""
        try:
            more = connection.recv(_LONGEST)
        except TimeoutError:
            raise PhaseTimeout(f"the board has not answered for {self._link.read_timeout_s:g} s") from None
        except ConnectionError as error:
            raise LinkLost(f"the connection to the board was lost: {error}") from error
        text = words(said + more)
        if not more:
            raise self._ended(text)
        if text and not "OK".startswith(text[:2]):
            self._raise_when_whole(connection, text)
        return text.encode()

    def _raise_when_whole(self, connection: socket.socket, text: str) -> None:
        """An error's words may come in pieces; they end with the connection."""
        data = text.encode()
        try:
            while len(data) < _LONGEST and (more := connection.recv(_LONGEST)):
                data += more
        except OSError:
            pass  # what came will do
        self._refused()
        raise refusal(data.decode("utf-8", "replace"))

    def _ended(self, text: str) -> Exception:
        if text and not text.startswith("OK"):
            self._refused()
            return refusal(text)
        return LinkLost("the board has closed the connection before it had all of the image, or without an OK")

    def _lost(self, connection: socket.socket, said: bytes) -> Exception:
        try:
            self._listen(connection, said)
        except (ConnectionLost, PhaseTimeout, OSError) as error:
            return error if isinstance(error, ConnectionLost) else LinkLost(f"the connection was lost: {error}")
        return LinkLost("the board does not take any more of the image")

    def _wait_for_ok(self, connection: socket.socket, said: bytes) -> None:
        while not words(said).startswith("OK"):
            said = self._listen(connection, said)
        self._log(f"the board has checked the image's MD5 and says {quoted(words(said))}")

    def _sign_of_life(self) -> str:
        """Without a status page: whether an invitation is answered.

        One that no password stops disturbs the sketch as `_probe` says; it is sent only after an update that failed,
        which has disturbed it already, and is taken back by not being there when the board calls.
        """
        harmless = self._shows_life or self._written is Written.REFUSED
        if self._watch.alive or not harmless or (self._may_restart and not self._waited):
            return ""
        try:
            self._watch.alive = self._answers()
        except OSError:  # refused by a sketch that has not begun yet, unreachable while the board is off the network
            return ""
        if not self._watch.alive:
            return ""
        return "ArduinoOTA answers; the version is not known (no `version_path`)\n"

    def _answers(self) -> bool:
        with self._listening() as listener, self._udp() as udp:
            udp.send(invitation(listener.getsockname()[1], b"\xe9"))
            answer = self._hear(udp, _ANSWER_S)
            if answer is not None and answer.said is Said.AUTHENTICATE:
                udp.send(cancellation())
        return answer is not None and answer.said is not Said.REFUSED

    @property
    def _shows_life(self) -> bool:
        return bool(self._password.get_secret_value())


# 0x640000: the biggest application partition of arduino-esp32's tables (default_16MB.csv); a board refuses by itself
# what does not fit into its own.
_DEFAULTS = TypeDefaults(
    flash_address=0, max_firmware_size=0x640000, usual_flash=USUAL_SLOT, port=3232, start_s=START_S
)


def _open(link: Link, log: Log) -> ArduinoSession:
    options = link.options if isinstance(link.options, ArduinoOptions) else ArduinoOptions()
    return ArduinoSession(link, options, log)


ARDUINO_OTA = UpdateDriver("arduino-ota", UPDATED_BY_NETWORK, _DEFAULTS, ArduinoOptions, _open)
