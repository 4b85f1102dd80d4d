"""A board that is updated through a web page of its own: its settings, its web server. updaters.py has the pages."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Literal

from pydantic import Field

from drivers.secrets import Secret
from drivers.virtual.errors import BenchError
from drivers.virtual.folder import BoardFolder
from drivers.virtual.ota import status_page
from drivers.virtual.ota.espressif import EspressifBoard
from drivers.virtual.ota.http_auth import Gate
from drivers.virtual.ota.ports import LOOPBACK, TcpPort
from drivers.virtual.ota.settings import BoardSettings, known, parse
from drivers.virtual.ota.station import NetworkStation
from drivers.virtual.ota.updaters import UPDATERS
from drivers.virtual.ota.upload import NoForm
from drivers.virtual.ota.web import Answer, Request, server
from drivers.virtual.spec import BoardSpec


class HttpSettings(BoardSettings):
    """The driver's options, and after them the board's own."""

    updater: Literal["esp8266", "esp32", "elegant", "elegant3"] = "esp32"
    path: str | None = None
    field: str | None = None
    md5: bool | None = None
    username: str = ""
    password: Secret | None = None
    tls: bool = False
    ca_file: Path | None = None
    version_path: str | None = None
    version_port: int | None = None
    version_pattern: str | None = None
    restart_s: float = 0
    chip: Literal["esp32", "esp32s3", "esp32c3", "esp8266"] | None = Field(
        default=None, description="The chip on the virtual board. Left out: the updater's usual one."
    )
    authentication: Literal["basic", "digest"] = Field(
        default="basic", description="Which of both the page asks for; ESPAsyncWebServer asks for digest."
    )
    answers: bool = Field(
        default=True, description="False: the board restarts before its answer to the upload has left it."
    )
    auto_rollback: bool = Field(
        default=False, description="The boot loader goes back from firmware that does not come up."
    )
    host: str = Field(default=LOOPBACK, description="The loopback address that the board has.")
    certificate: Path | None = Field(
        default=None, description="PEM with the key and the certificate that a board with `tls` shows."
    )


class HttpOta(EspressifBoard):
    """Its web server: the updater and the status page."""

    def __init__(self, spec: BoardSpec, folder: BoardFolder, settings: HttpSettings) -> None:
        make, path, chip = UPDATERS[settings.updater]
        super().__init__(spec, folder, settings.chip or chip, auto_rollback=settings.auto_rollback)
        self._settings = settings
        self._gate = Gate(settings.username, known(settings.password, spec.board_id), settings.authentication)
        self._make = make
        self._path = settings.path or path
        self._tls = _context(settings, spec.board_id)
        self._tcp: TcpPort | None = None  # until it is opened

    async def open(self) -> str:
        host = self._settings.host
        self._tcp = port = TcpPort(host)
        return f"[{host}]:{port.port}" if ":" in host else f"{host}:{port.port}"

    async def start(self) -> None:
        assert self._tcp is not None
        self._updater = self._make(self, self._gate, self._path, checks_md5=self._settings.md5 is True)
        await self._tcp.listen(self.guarded(server(self._handle)), lambda: self.faults, self._tls)

    def stop(self) -> None:
        if self._tcp is not None:
            self._tcp.stop()

    @property
    def is_in_use(self) -> bool:
        return self._tcp is not None and self._tcp.is_in_use

    def close(self) -> None:
        super().close()
        if self._tcp is not None:
            self._tcp.close()

    async def _handle(self, request: Request) -> Answer:
        try:
            answer = await self._updater.handle(request)
        except NoForm as error:
            return Answer(400, str(error))
        if answer is None:
            return await self._other(request)
        if request.method == "POST" and answer.status == 200 and not self._settings.answers:
            answer.then()
            raise ConnectionResetError("it restarts at once")
        return answer

    async def _other(self, request: Request) -> Answer:
        await request.drain()
        if request.method == "GET" and request.path == (self._settings.version_path or status_page.DEFAULT_PATH):
            return status_page.answer(self)
        return Answer(404, f"Not found: {request.path}")


def _context(settings: HttpSettings, board_id: str) -> ssl.SSLContext | None:
    if not settings.tls:
        return None
    if settings.certificate is None:
        raise BenchError(f"{board_id}: a virtual board with `tls` needs a `certificate`")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.certificate)
    except OSError as error:  # ssl.SSLError is one
        raise BenchError(f"{board_id}: the certificate can not be used: {error}") from error
    return context


class HttpStation(NetworkStation):
    def make_board(self) -> HttpOta:
        settings = parse(HttpSettings, self.spec.options, self.spec.board_id)
        return HttpOta(self.spec, self.folder, settings)


def station(spec: BoardSpec, state: Path, wait_s: float) -> HttpStation:
    """The place of a board that is updated through a web page."""
    return HttpStation(spec, state, wait_s)
