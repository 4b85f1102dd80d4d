"""A small web server as boards have one: a request a connection, the body read as it comes. h11 parses and frames."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import h11

from drivers.virtual.ota.ports import Connection, Serve

_LONGEST_HEAD = 0x4000


@dataclass(frozen=True)
class Answer:
    """What a handler answers with; `then` is done after it was sent and the connection closed."""

    status: int
    body: str = ""
    content_type: str = "text/plain"
    headers: Sequence[tuple[str, str]] = ()
    then: Callable[[], None] = field(default=lambda: None)


@dataclass(frozen=True)
class Request:
    """One request; `body` gives its bytes once. Header names are in lower case."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: AsyncIterator[bytes]

    async def drain(self) -> None:
        """Read the rest of the body, and forget it."""
        async for _ in self.body:
            pass


Handle = Callable[[Request], Awaitable[Answer]]


class _Client:
    """The protocol's state with one client. Raises h11.RemoteProtocolError for what is no HTTP."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_LONGEST_HEAD)

    async def _event(self) -> h11.Event | type[h11.PAUSED]:
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                self._http.receive_data(await self._connection.read())
            else:
                assert not isinstance(event, type) or event is h11.PAUSED
                return event

    async def request(self) -> Request | None:
        """None where the client ends before it has asked."""
        event = await self._event()
        if not isinstance(event, h11.Request):
            return None
        if (b"expect", b"100-continue") in event.headers:  # curl, for more than a megabyte
            continues = self._http.send(h11.InformationalResponse(status_code=100, headers=[]))
            await self._connection.write(continues or b"")
        path, _, query = event.target.decode("ascii", "replace").partition("?")
        headers = {name.decode().lower(): value.decode("latin-1") for name, value in event.headers}
        return Request(event.method.decode(), path, query, headers, self._body())

    async def _body(self) -> AsyncIterator[bytes]:
        while isinstance(event := await self._event(), h11.Data):
            yield bytes(event.data)
        if not isinstance(event, h11.EndOfMessage):
            raise ConnectionResetError("the client has ended")

    async def answer(self, answer: Answer) -> None:
        body = answer.body.encode()
        headers = [
            ("Content-Type", answer.content_type),
            ("Content-Length", str(len(body))),
            ("Connection", "close"),
            *answer.headers,
        ]
        reason = h11.Response(status_code=answer.status, headers=headers)
        sent = (self._http.send(reason), self._http.send(h11.Data(data=body)), self._http.send(h11.EndOfMessage()))
        await self._connection.write(b"".join(filter(None, sent)))


def server(handle: Handle) -> Serve:
    """Answers each client's one request; closes on what is no HTTP, as the cores' servers do."""

    async def serve(connection: Connection) -> None:
        client = _Client(connection)
        try:
            request = await client.request()
            if request is None:
                return
            answer = await handle(request)
            await client.answer(answer)
        except (h11.RemoteProtocolError, h11.LocalProtocolError):
            return
        await connection.end()
        answer.then()

    return serve
