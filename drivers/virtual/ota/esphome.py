"""A board with ESPHome's firmware: one TCP port for its native updates.

Sources: ESPHome 2026.6 `components/esphome/ota/ota_esphome.cpp` and the backends `ota_backend_esp_idf.cpp` and
`ota_backend_esp8266.cpp`; MD5 authentication from before 2025.10, version 1 from before 2023.2. Of the bench's own is
that the same port answers GET with the status page: a real board has it on its web server's port.
"""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Literal

from pydantic import Field

from drivers.secrets import Secret
from drivers.virtual.esp.chips import ESP8266
from drivers.virtual.flash import SECTOR
from drivers.virtual.folder import BoardFolder
from drivers.virtual.ota import status_page
from drivers.virtual.ota.esphome_codes import (
    BLOCK_SIZE,
    BUFFER_SIZE,
    CLIENT_COMPRESSION,
    CLIENT_EXTENDED,
    CLIENT_NOISE,
    CLIENT_SHA256,
    MAGIC,
    SERVER_COMPRESSION,
    Code,
    Failed,
)
from drivers.virtual.ota.espressif import EspressifBoard
from drivers.virtual.ota.ports import LOOPBACK, Connection, TcpPort
from drivers.virtual.ota.settings import BoardSettings, known, parse
from drivers.virtual.ota.station import NetworkStation
from drivers.virtual.spec import BoardSpec

_BEFORE_RESTART_S = 0.1
_HANDSHAKE_S, _DATA_S = 20.0, 90.0  # OTA_SOCKET_TIMEOUT_…
_GZIP_MAGIC = b"\x1f\x8b"
_APP_MAGIC = 0xE9


class EsphomeSettings(BoardSettings):
    """The driver's options, and after them the board's own."""

    password: Secret | None = None
    version_path: str | None = None
    version_port: int | None = None
    version_pattern: str | None = None
    restart_s: float = 0
    chip: Literal["esp32", "esp32s3", "esp32c3", "esp8266"] = Field(
        default="esp32", description="The chip on the virtual board."
    )
    authentication: Literal["md5", "sha256"] = Field(
        default="sha256", description="How a password is asked for: md5 before ESPHome 2025.10."
    )
    protocol: Literal[1, 2] = Field(default=2, description="The version of the protocol: 1 before ESPHome 2023.2.")
    extended: bool = Field(default=True, description="The extended protocol of ESPHome 2026.5 and later.")
    encrypted: bool = Field(default=False, description="It takes encrypted updates only, as `encryption:` makes it.")
    auto_rollback: bool = Field(
        default=False, description="The boot loader goes back from firmware that does not come up."
    )
    host: str = Field(default=LOOPBACK, description="The loopback address that the board has.")


class EsphomeBoard(EspressifBoard):
    """The board. It serves one client at a time."""

    def __init__(self, spec: BoardSpec, folder: BoardFolder, settings: EsphomeSettings) -> None:
        super().__init__(spec, folder, settings.chip, auto_rollback=settings.auto_rollback)
        self._settings = settings
        self._password = known(settings.password, spec.board_id)
        self._one_client = asyncio.Lock()
        self._nonces = 0
        self._tcp: TcpPort | None = None

    async def open(self) -> str:
        host = self._settings.host
        self._tcp = port = TcpPort(host)
        return f"[{host}]:{port.port}" if ":" in host else f"{host}:{port.port}"

    async def start(self) -> None:
        assert self._tcp is not None
        await self._tcp.listen(self.guarded(self._serve), lambda: self.faults)

    def stop(self) -> None:
        assert self._tcp is not None
        self._tcp.stop()
        self._one_client = asyncio.Lock()

    @property
    def is_in_use(self) -> bool:
        return self._tcp is not None and self._tcp.is_in_use

    def close(self) -> None:
        super().close()
        if self._tcp is not None:
            self._tcp.close()

    async def _serve(self, connection: Connection) -> None:
        first = await connection.read(1)
        connection.give_back(first)
        if first == b"G":
            await status_page.at(self._settings.version_path or status_page.DEFAULT_PATH, self)(connection)
            return
        async with self._one_client:
            try:
                await self._update(connection)
            except Failed as failed:
                await connection.write(bytes([failed.code]))
            except TimeoutError:
                return

    async def _update(self, connection: Connection) -> None:
        async with asyncio.timeout(_HANDSHAKE_S):
            extended = await self._shake_hands(connection)
        async with asyncio.timeout(None) as idle:
            update = Update(self, connection, idle, version=self._settings.protocol)
            await update.run(extended=extended)
        await connection.end()
        await asyncio.sleep(_BEFORE_RESTART_S)
        self.restart()
        await asyncio.Event().wait()  # nobody else is served before that

    async def _shake_hands(self, connection: Connection) -> bool:
        """Whether the extended protocol was agreed on."""
        if await connection.read_exactly(len(MAGIC)) != MAGIC:
            raise Failed(Code.ERROR_MAGIC)
        await connection.write(bytes([Code.OK, self._settings.protocol]))
        (features,) = await connection.read_exactly(1)
        if self._settings.encrypted and not features & CLIENT_NOISE:
            raise Failed(Code.ERROR_ENCRYPTION_REQUIRED)
        compression = bool(features & CLIENT_COMPRESSION) and self.chip is ESP8266
        extended = self._settings.extended and bool(features & CLIENT_EXTENDED)
        if extended:
            await connection.write(bytes([Code.FEATURE_FLAGS, SERVER_COMPRESSION if compression else 0]))
        else:
            await connection.write(bytes([Code.SUPPORTS_COMPRESSION if compression else Code.HEADER_OK]))
        if self._password:
            await self._ask_password(connection, features)
        await connection.write(bytes([Code.AUTH_OK]))
        return extended

    async def _ask_password(self, connection: Connection, features: int) -> None:
        is_sha = self._settings.authentication == "sha256"
        if is_sha and not features & CLIENT_SHA256:
            raise Failed(Code.ERROR_AUTH_INVALID)
        algorithm = "sha256" if is_sha else "md5"
        self._nonces += 1
        nonce = hashlib.new(algorithm, f"{self.spec.board_id} {self._nonces}".encode()).hexdigest().encode()
        await connection.write(bytes([Code.REQUEST_SHA256_AUTH if is_sha else Code.REQUEST_AUTH]) + nonce)
        own = await connection.read_exactly(len(nonce))
        proof = await connection.read_exactly(len(nonce))
        if hashlib.new(algorithm, self._password.encode() + nonce + own).hexdigest().encode() != proof.lower():
            raise Failed(Code.ERROR_AUTH_INVALID)


class Update:
    """The data phase (`handle_data_`), with the backend of the chip. `idle` ends it where no data come."""

    def __init__(self, board: EsphomeBoard, connection: Connection, idle: asyncio.Timeout, version: int) -> None:
        self._board = board
        self._connection = connection
        self._idle = idle
        self._version = version
        self._is_8266 = board.chip is ESP8266
        self._md5 = hashlib.md5()
        self._written = 0

    async def run(self, *, extended: bool) -> None:
        """Raises Failed; returns when the image is to be started."""
        kind = (await self._read_exactly(1))[0] if extended else 0
        size = int.from_bytes(await self._read_exactly(4), "big")
        if kind:
            raise Failed(Code.ERROR_UNSUPPORTED_OTA_TYPE)
        await self._begin(size)
        await self._say(Code.UPDATE_PREPARE_OK)
        expected = await self._read_exactly(32)
        await self._say(Code.BIN_MD5_OK)
        await self._receive(size)
        await self._say(Code.RECEIVE_OK)
        self._end(expected)
        await self._say(Code.UPDATE_END_OK)
        await self._connection.read(1)  # its acknowledgement; "not fatal" where it does not come

    async def _read_exactly(self, size: int) -> bytes:
        self._idle.reschedule(asyncio.get_running_loop().time() + _DATA_S)
        return await self._connection.read_exactly(size)

    async def _say(self, code: Code) -> None:
        await self._connection.write(bytes([code]))

    async def _begin(self, size: int) -> None:
        slots = self._board.slots
        if size > slots.size:
            small = Code.ERROR_ESP8266_NOT_ENOUGH_SPACE if self._is_8266 else Code.ERROR_ESP32_NOT_ENOUGH_SPACE
            raise Failed(small)
        if not self._is_8266:  # esp_ota_begin erases what the image needs, all of it where the size is not known
            await slots.erase(self._board.spare, 0, size or slots.size, self._board.faults)

    async def _receive(self, size: int) -> None:
        acknowledged = 0
        while self._written < size:
            self._idle.reschedule(asyncio.get_running_loop().time() + _DATA_S)
            data = await self._connection.read(min(BUFFER_SIZE, size - self._written))
            if not data:
                raise ConnectionResetError("the client has ended")
            await self._write(data)
            while self._version == 2 and (
                acknowledged + BLOCK_SIZE <= self._written or (self._written == size and acknowledged < size)
            ):
                await self._say(Code.CHUNK_OK)
                acknowledged += BLOCK_SIZE

    async def _write(self, data: bytes) -> None:
        slots, slot, faults = self._board.slots, self._board.spare, self._board.faults
        if not self._written and not self._is_8266 and data[0] != _APP_MAGIC:
            raise Failed(Code.ERROR_MAGIC)
        if self._is_8266:  # sector by sector, as they come
            first, last = -(-self._written // SECTOR), (self._written + len(data) - 1) // SECTOR
            for sector in range(first, last + 1):
                await slots.erase(slot, sector * SECTOR, SECTOR, faults)
        await slots.program(slot, self._written, data, faults)
        self._md5.update(data)
        self._written += len(data)

    def _end(self, expected: bytes) -> None:
        found = self._board.faults.digest(self._md5.digest()).hex()
        if not self._written and self._is_8266:
            raise Failed(Code.ERROR_UPDATE_END)
        if found.encode() != expected.lower():
            raise Failed(Code.ERROR_MD5_MISMATCH)
        if self._is_8266 and not self._begins_well():
            raise Failed(Code.ERROR_UPDATE_END)
        if self._board.activate() is not None:
            raise Failed(Code.ERROR_UPDATE_END)

    def _begins_well(self) -> bool:
        head = self._board.slots.read(self._board.spare, 0, 2)
        return head[0] == _APP_MAGIC or head == _GZIP_MAGIC


class EsphomeStation(NetworkStation):
    """The place of such a board."""

    def make_board(self) -> EsphomeBoard:
        return EsphomeBoard(self.spec, self.folder, parse(EsphomeSettings, self.spec.options, self.spec.board_id))


def station(spec: BoardSpec, state: Path, wait_s: float) -> EsphomeStation:
    """The place of a board with ESPHome's firmware."""
    return EsphomeStation(spec, state, wait_s)
