"""An upload by HTML form (RFC 7578), handed on as it comes. Werkzeug decodes it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData

from drivers.virtual.ota.web import Request

_LONGEST_FIELD = 0x1000


class NoForm(Exception):
    """The body is not the form that its header says, or not all of it."""


@dataclass
class Upload:
    """What has come of a form: its fields before the file, and whether there was a file, and all of it."""

    fields: dict[str, str] = field(default_factory=dict)
    file_field: str = ""
    filename: str = ""


OnFile = Callable[[Upload], Awaitable[None]]
OnData = Callable[[bytes], Awaitable[None]]


async def receive(request: Request, on_file: OnFile, on_data: OnData) -> Upload:
    """Read the form: `on_file` once when the first file begins, `on_data` with its bytes. Raises NoForm."""
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != "multipart/form-data" or "boundary" not in options:
        raise NoForm("no form")
    reader = _Reader(MultipartDecoder(options["boundary"].encode("latin-1"), 0x20000), on_file, on_data)
    async for piece in request.body:
        await reader.feed(piece)
    await reader.feed(None)
    return reader.upload


class _Reader:
    def __init__(self, decoder: MultipartDecoder, on_file: OnFile, on_data: OnData) -> None:
        self._decoder = decoder
        self._on_file = on_file
        self._on_data = on_data
        self._field = ""
        self._in_file = False
        self.upload = Upload()

    async def feed(self, piece: bytes | None) -> None:
        """The next bytes of the body; None at its end, which must be the form's."""
        try:
            self._decoder.receive_data(piece)
            while not isinstance(event := self._decoder.next_event(), NeedData | Epilogue):
                if isinstance(event, Field | File | Data):
                    await self._take(event)
        except (ValueError, RequestEntityTooLarge) as error:
            raise NoForm(str(error)) from error

    async def _take(self, event: Field | File | Data) -> None:
        if isinstance(event, Data):
            if self._in_file:
                await self._on_data(bytes(event.data))
            elif self._field and len(self.upload.fields[self._field]) < _LONGEST_FIELD:
                self.upload.fields[self._field] += event.data.decode("utf-8", "replace")
            return
        self._in_file = isinstance(event, File) and not self.upload.file_field
        self._field = ""
        if isinstance(event, File):
            if self._in_file:
                self.upload.file_field, self.upload.filename = event.name, event.filename
                await self._on_file(self.upload)
        else:
            self._field = event.name
            self.upload.fields[event.name] = ""
