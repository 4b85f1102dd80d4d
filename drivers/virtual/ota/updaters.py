"""What each of the widespread updaters does about its requests.

| profile    | source                                                                          |
| ---------- | ------------------------------------------------------------------------------- |
| `esp8266`  | esp8266/Arduino, ESP8266HTTPUpdateServer-impl.h                                  |
| `esp32`    | arduino-esp32, HTTPUpdateServer.h: wants `Origin: http://<Host>`                 |
| `elegant`  | AsyncElegantOTA 2.2.7: the field MD5 before the file                             |
| `elegant3` | ElegantOTA 3.1: GET /ota/start, then POST /ota/upload                            |

Both give the MD5 to `Update` before they begin, which forgets it: it is never compared (AsyncElegantOTA issue 120,
ElegantOTA issues 240 and 286). `checks_md5` is a library that is mended.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from urllib.parse import parse_qs

from drivers.virtual.ota.espressif import EspressifBoard
from drivers.virtual.ota.http_auth import Gate
from drivers.virtual.ota.updater import Update
from drivers.virtual.ota.upload import Upload, receive
from drivers.virtual.ota.web import Answer, Request

_SUCCESS = '<META http-equiv="refresh" content="15;URL=/">Update Success! Rebooting...'
_HTML = "text/html"


class Updater(ABC):
    """What one of the updaters does about its requests; None for a path that is not its own."""

    def __init__(self, board: EspressifBoard, gate: Gate, path: str, *, checks_md5: bool) -> None:
        self._board = board
        self._gate = gate
        self._path = path
        self._checks_md5 = checks_md5

    def begin(self, update: Update, digest: str) -> bool:
        """As the library does it, or should."""
        begun = update.begin(None)
        if begun and self._checks_md5:
            update.set_md5(digest)
        return begun

    async def handle(self, request: Request) -> Answer | None:
        if request.path == self._path and request.method == "POST":
            return await self.upload(request)
        if request.path == self._path and request.method == "GET":
            await request.drain()
            return Answer(200, "<!DOCTYPE html><form method='POST'>", _HTML) if self.admits(request) else self.denied()
        return None

    def admits(self, request: Request) -> bool:
        return self._gate.admits(request.method, request.headers.get("authorization"))

    def denied(self) -> Answer:
        return Answer(401, "", _HTML, (self._gate.challenge,))

    @abstractmethod
    async def upload(self, request: Request) -> Answer:
        """What happens with a form; PowerLost comes through."""

    async def write(self, request: Request, update: Update, *, admitted: bool = True) -> Upload:
        """Into flash what comes, all of it read in any case; a form that breaks off ends no update. Raises NoForm."""

        async def begin(upload: Upload) -> None:
            if admitted and upload.file_field != "filesystem":  # the bench's boards have none
                update.begin(None)

        async def take(data: bytes) -> None:
            if admitted:
                await update.write(data)

        found = await receive(request, begin, take)
        if admitted and found.file_field:
            await update.end(even_if_remaining=True)
        return found


class WithPage(Updater):
    """ESP8266HTTPUpdateServer; errors come with HTTP 200."""

    async def upload(self, request: Request) -> Answer:
        update = Update(self._board)
        admitted = self.admits(request)
        found = await self.write(request, update, admitted=admitted and self.has_origin(request))
        if not admitted:
            return self.denied()
        if not self.has_origin(request) or not found.file_field:  # which is looked at when the file begins
            if self._gate.username and self._gate.password:
                return self.denied()
            return Answer(200, "Update error: Wrong origin received!", _HTML)
        if update.error is not None:
            return Answer(200, f"Update error: {update.error_line}", _HTML)
        return Answer(200, _SUCCESS, _HTML, then=self._board.restart)

    def has_origin(self, request: Request) -> bool:
        """The ESP8266's does not look."""
        return bool(request)


class WithOrigin(WithPage):
    """arduino-esp32's HTTPUpdateServer, which compares the origin with the host."""

    def has_origin(self, request: Request) -> bool:
        return request.headers.get("origin") == f"http://{request.headers.get('host')}"


class Elegant(Updater):
    """AsyncElegantOTA 2.2: restarts whatever came of it."""

    async def upload(self, request: Request) -> Answer:
        if not self.admits(request):
            await request.drain()
            return self.denied()
        update = Update(self._board)
        wrong: list[str] = []

        async def begin(upload: Upload) -> None:
            if "MD5" not in upload.fields:
                wrong.append("MD5 parameter missing")
            elif not update.set_md5(upload.fields["MD5"]):
                wrong.append("MD5 parameter invalid")
            elif not self.begin(update, upload.fields["MD5"]):
                wrong.append("OTA could not begin")

        async def take(data: bytes) -> None:
            if not wrong and not await update.write(data):
                wrong.append("OTA could not begin")

        found = await receive(request, begin, take)
        if wrong:
            return Answer(400, wrong[0])
        if found.file_field and not await update.end(even_if_remaining=True):
            return Answer(400, "Could not end OTA")
        return Answer(200, "OK", then=self._board.restart)


class Elegant3(Updater):
    """ElegantOTA 3: begun by one request, done by the next."""

    def __init__(self, board: EspressifBoard, gate: Gate, path: str, *, checks_md5: bool) -> None:
        super().__init__(board, gate, path, checks_md5=checks_md5)
        self._update: Update | None = None

    async def handle(self, request: Request) -> Answer | None:
        if request.path == "/update" and request.method == "GET":
            await request.drain()
            return Answer(200, "<!DOCTYPE html>", _HTML) if self.admits(request) else self.denied()
        if request.path == "/ota/start" and request.method == "GET":
            await request.drain()
            return self._start(request) if self.admits(request) else self.denied()
        if request.path == self._path and request.method == "POST":
            return await self.upload(request)
        return None

    def _start(self, request: Request) -> Answer:
        arguments = parse_qs(request.query)
        self._update = Update(self._board)
        digest = arguments.get("hash", [""])[0]
        if "hash" in arguments and not self._update.set_md5(digest):
            return Answer(400, "MD5 parameter invalid")
        if not self.begin(self._update, digest):
            return Answer(400, self._update.error_line)
        return Answer(200, "OK")

    async def upload(self, request: Request) -> Answer:
        if not self.admits(request):
            await request.drain()
            return self.denied()
        update, self._update = self._update, None

        async def begin(_upload: Upload) -> None: ...

        async def take(data: bytes) -> None:
            if update is not None:
                await update.write(data)

        await receive(request, begin, take)
        if update is None:
            return Answer(400, "Failed to write chunked data to free space")
        if not await update.end(even_if_remaining=True):
            return Answer(400, update.error_line)
        return Answer(200, "OK", headers=(("Access-Control-Allow-Origin", "*"),), then=self._board.restart)


UPDATERS: dict[str, tuple[type[Updater], str, str]] = {
    "esp8266": (WithPage, "/update", "esp8266"),
    "esp32": (WithOrigin, "/update", "esp32"),
    "elegant": (Elegant, "/update", "esp32"),
    "elegant3": (Elegant3, "/ota/upload", "esp32"),
}
