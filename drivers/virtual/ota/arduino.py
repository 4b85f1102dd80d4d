"""A board that is updated by ArduinoOTA: invited by UDP, it fetches its new firmware from who invited it.

Sources: `ArduinoOTA.cpp` of arduino-esp32 and esp8266/Arduino (states, order of answers, waits). The two differ: the
ESP32 says OK and then begins, and fails in silence where it can not; the ESP8266 begins first, and says OK or why not.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from enum import Enum, auto
from pathlib import Path
from typing import Literal

from pydantic import Field

from drivers.secrets import Secret
from drivers.virtual.esp.chips import ESP8266
from drivers.virtual.faults import PowerLost
from drivers.virtual.folder import BoardFolder
from drivers.virtual.ota import status_page
from drivers.virtual.ota.arduino_protocol import (
    Authentication,
    Command,
    Invitation,
    is_right,
    parse_invitation,
    parse_response,
    password_hash,
)
from drivers.virtual.ota.espressif import EspressifBoard
from drivers.virtual.ota.ports import LOOPBACK, Connection, Peer, TcpPort, UdpPort
from drivers.virtual.ota.settings import BoardSettings, known, parse
from drivers.virtual.ota.station import NetworkStation
from drivers.virtual.ota.updater import Update
from drivers.virtual.spec import BoardSpec

_READ = 1460  # bytes that the ESP32 takes at once
_IDLE_S = 1.0  # `_ota_timeout`: without data for so long, the ESP32 repeats its last count
_REPEATS = 3
_AFTER_OK_S = 0.1  # the cores' delay before they restart


class ArduinoSettings(BoardSettings):
    """The driver's options, and after them the board's own."""

    password: Secret | None = None
    host_port: int = 0
    version_path: str | None = None
    version_port: int | None = None
    version_pattern: str | None = None
    restart_s: float = 0
    chip: Literal["esp32", "esp32s3", "esp32c3", "esp8266"] = Field(
        default="esp32", description="The chip on the virtual board."
    )
    authentication: Literal["md5", "sha256"] = Field(
        default="sha256", description="How a password is asked for: sha256 since arduino-esp32 3.3.1, md5 before."
    )
    stored_md5: bool = Field(
        default=False, description="The sketch gives the MD5 of its password to setPasswordHash, as before 3.3.1."
    )
    auto_rollback: bool = Field(
        default=False, description="The boot loader goes back from firmware that does not come up."
    )
    host: str = Field(default=LOOPBACK, description="The loopback address that the board has.")


class _State(Enum):
    IDLE = auto()
    WAIT_AUTH = auto()
    UPDATE = auto()


class ArduinoOta(EspressifBoard):
    """UDP for invitations; its status page is on the TCP port of the same number."""

    def __init__(self, spec: BoardSpec, folder: BoardFolder, settings: ArduinoSettings) -> None:
        super().__init__(spec, folder, settings.chip, auto_rollback=settings.auto_rollback)
        self._settings = settings
        password = known(settings.password, spec.board_id)
        self._kind = _kind(settings) if password else Authentication.NONE
        self._kept = password_hash(password, self._kind, stored_md5=settings.stored_md5)
        self._state = _State.IDLE
        self._nonce = ""
        self._nonces = 0
        self._invitation: Invitation | None = None
        self._invited_by: Peer = (LOOPBACK, 0)
        self._work: asyncio.Task[None] | None = None
        self._ports: tuple[UdpPort, TcpPort] | None = None  # until it is opened

    async def open(self) -> str:
        self._ports = _ports(self._settings.host)
        await self._udp.open(lambda: self.faults)
        host = self._settings.host
        return f"[{host}]:{self._udp.port}" if ":" in host else f"{host}:{self._udp.port}"

    @property
    def _udp(self) -> UdpPort:
        assert self._ports is not None
        return self._ports[0]

    @property
    def _tcp(self) -> TcpPort:
        assert self._ports is not None
        return self._ports[1]

    async def start(self) -> None:
        self._state = _State.IDLE
        page = status_page.at(self._settings.version_path or status_page.DEFAULT_PATH, self)
        await self._tcp.listen(self.guarded(page), lambda: self.faults)
        self._udp.hear = self._hear

    def stop(self) -> None:
        self._udp.hear = None
        self._tcp.stop()
        if self._work is not None and self._work is not asyncio.current_task():
            self._work.cancel()

    @property
    def is_in_use(self) -> bool:
        return self._state is not _State.IDLE or self._tcp.is_in_use

    def close(self) -> None:
        super().close()
        if self._ports is not None:
            self._udp.close()
            self._tcp.close()

    def _hear(self, data: bytes, peer: Peer) -> None:
        if self._state is _State.IDLE:
            self._invited(data, peer)
        elif self._state is _State.WAIT_AUTH:
            self._answered(data, peer)
        # while it updates, datagrams are dropped

    def _invited(self, data: bytes, peer: Peer) -> None:
        invitation = parse_invitation(data)
        if invitation is None:
            return
        self.faults.started(in_loader=True)  # each invitation is one of those that a silence counts
        self._invitation, self._invited_by = invitation, peer
        if self._kind is Authentication.NONE:
            self._accept(peer)
            return
        self._nonce = self._new_nonce()
        self._state = _State.WAIT_AUTH
        self._udp.send(f"AUTH {self._nonce}".encode(), peer)

    def _new_nonce(self) -> str:
        self._nonces += 1
        seed = f"{self.spec.board_id} {self._nonces}".encode()
        digest = hashlib.md5 if self._kind is Authentication.MD5 else hashlib.sha256
        return digest(seed).hexdigest()

    def _answered(self, data: bytes, peer: Peer) -> None:
        self._state = _State.IDLE
        response = parse_response(data, self._kind.value)
        if response is None:
            return
        # the ESP8266 answers to where the invitation came from, the ESP32 to where this came from
        to = self._invited_by if self.chip is ESP8266 else peer
        if is_right(response, self._nonce, self._kept):
            self._accept(to)
        else:
            self._udp.send(b"Authentication Failed", to)

    def _accept(self, peer: Peer) -> None:
        assert self._invitation is not None
        self._state = _State.UPDATE
        if self.chip is not ESP8266:
            self._udp.send(b"OK", peer)
        self._work = asyncio.get_running_loop().create_task(self._run(self._invitation, peer))

    async def _run(self, invitation: Invitation, peer: Peer) -> None:
        try:
            await self._update(invitation, peer)
        except PowerLost as lost:
            self.lose_power(lost)
        except OSError:
            pass  # the client is not there, or has gone: the board goes on with what it has
        finally:
            self._state = _State.IDLE

    async def _update(self, invitation: Invitation, peer: Peer) -> None:
        update = Update(self)
        begun = invitation.command == Command.FLASH and update.begin(invitation.size)
        if self.chip is ESP8266:
            self._udp.send(b"OK" if begun else f"ERR: {update.error_line}".encode(), peer)
        if not begun:
            return
        update.set_md5(invitation.md5)
        reader, writer = await asyncio.open_connection(peer[0], invitation.port)
        connection = Connection(reader, writer, self.faults)
        try:
            await self._receive(connection, update)
            await self._finish(connection, update)
        finally:
            connection.abort()

    async def _receive(self, connection: Connection, update: Update) -> None:
        """Until all has come, or nothing is taken any more, or nothing comes. Counts are answered as they are read."""
        last = 0
        repeats = 0
        while not update.finished:
            try:
                async with asyncio.timeout(_IDLE_S):
                    data = await connection.read(_READ)
            except TimeoutError:
                repeats += 1
                if not last or repeats > _REPEATS:
                    raise ConnectionResetError("nothing came") from None
                await connection.write(str(last).encode())
                continue
            if not data:
                return
            repeats = 0
            if await update.write(data):
                last = len(data)
                await connection.write(str(last).encode())

    async def _finish(self, connection: Connection, update: Update) -> None:
        if not await update.end(even_if_remaining=False):
            await connection.write(update.error_line.encode())
            await connection.end()
            return
        await connection.write(b"OK")
        await connection.end()
        await self.pace.charge(_AFTER_OK_S)
        self.restart()


def _kind(settings: ArduinoSettings) -> Authentication:
    sha256 = settings.authentication == "sha256" and settings.chip != "esp8266"
    return Authentication.SHA256 if sha256 else Authentication.MD5


def _ports(host: str) -> tuple[UdpPort, TcpPort]:
    """UDP and TCP of one number. Raises OSError."""
    for _ in range(20):
        udp = UdpPort(host)
        with contextlib.suppress(OSError):
            return udp, TcpPort(host, udp.port)
        udp.close()
    raise OSError("no number is free for both UDP and TCP")


class ArduinoStation(NetworkStation):
    def make_board(self) -> ArduinoOta:
        settings = parse(ArduinoSettings, self.spec.options, self.spec.board_id)
        return ArduinoOta(self.spec, self.folder, settings)


def station(spec: BoardSpec, state: Path, wait_s: float) -> ArduinoStation:
    """The place of a board that ArduinoOTA updates."""
    return ArduinoStation(spec, state, wait_s)
