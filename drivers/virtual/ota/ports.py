"""A board's ports on the network. They stay the board's own while its application does not run.

Then TCP is refused, as by a host whose network is up and whose service is not; UDP is heard by nobody.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable

from drivers.virtual.faults import Faults

LOOPBACK = "127.0.0.1"
_READ = 0x1000


class Connection:
    """One TCP connection with a client, as the board sees it: with the line's faults. Ends with ConnectionError."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, faults: Faults) -> None:
        self._reader = reader
        self._writer = writer
        self._faults = faults
        self._silent = faults.silent
        self._room = faults.line_drops_after()
        self._rest = b""

    @property
    def peer(self) -> str:
        """The client's address."""
        return str(self._writer.get_extra_info("peername")[0])

    async def read(self, most: int = _READ) -> bytes:
        """Up to `most` bytes as they come; empty at the connection's end. Never returns on a silent board."""
        if not self._rest:
            self._rest = await self._receive()
        taken, self._rest = self._rest[:most], self._rest[most:]
        return taken

    def give_back(self, data: bytes) -> None:
        """What was read comes again with the next read: for a port that is two services."""
        self._rest = data + self._rest

    async def read_exactly(self, size: int) -> bytes:
        """Raises ConnectionError where the client ends before that."""
        data = b""
        while len(data) < size:
            more = await self.read(size - len(data))
            if not more:
                raise ConnectionResetError(f"the client has ended after {len(data)} of {size} bytes")
            data += more
        return data

    async def _receive(self) -> bytes:
        data = await self._reader.read(_READ)
        while self._silent and data:  # taken by the network stack, and that is all
            data = await self._reader.read(_READ)
        if self._silent:
            raise ConnectionResetError("the client gave up")
        if self._room is not None:
            self._room -= len(data)
            if self._room < 0:
                self._faults.line_dropped()
                raise ConnectionResetError("the line went dead")
        return self._faults.noisy(data)

    async def write(self, data: bytes) -> None:
        """Send, as far as the client listens."""
        if not self._silent:
            self._writer.write(self._faults.noisy(data))
            await self._writer.drain()

    async def end(self) -> None:
        """Close in order: what was sent arrives."""
        self._writer.close()
        await self._writer.wait_closed()

    def abort(self) -> None:
        """Let it fall: the client sees a reset."""
        self._writer.transport.abort()


Serve = Callable[[Connection], Awaitable[None]]


class TcpPort:
    """Where clients connect to; `host` is an address of the loopback network, IPv6's too."""

    def __init__(self, host: str = LOOPBACK, port: int = 0) -> None:
        self._host = host
        self._reserved = self._bound(port)
        self.port: int = self._reserved.getsockname()[1]
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.Task[object], Connection] = {}

    def _bound(self, port: int) -> socket.socket:
        bound = socket.socket(socket.AF_INET6 if ":" in self._host else socket.AF_INET, socket.SOCK_STREAM)
        # so that the port can be listened at while it is reserved (both have it, and only one listens)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((self._host, port))
        return bound

    @property
    def is_in_use(self) -> bool:
        """Whether a client is connected."""
        return bool(self._open)

    async def listen(self, serve: Serve, faults: Callable[[], Faults], tls: ssl.SSLContext | None = None) -> None:
        """Serve each client by `serve` until `stop`; a client's ending ends only its own."""

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            if self._server is None:  # the application has ended between the system's accepting and now
                writer.transport.abort()
                return
            faults().started(in_loader=True)  # each client is one of those that a silence counts
            connection = self._open[task] = Connection(reader, writer, faults())
            try:
                await serve(connection)
                await connection.end()
            except (ConnectionError, asyncio.CancelledError):
                pass  # the client's affair, or `stop`
            finally:
                connection.abort()
                del self._open[task]

        self._server = await asyncio.start_server(accept, sock=self._bound(self.port), ssl=tls)

    def stop(self) -> None:
        """No service any more: the port refuses, and what was connected is let fall (but for the caller's own)."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task, connection in list(self._open.items()):
            connection.abort()
            if task is not asyncio.current_task():
                task.cancel()

    def close(self) -> None:
        """Give the port up."""
        self.stop()
        self._reserved.close()


Peer = tuple[str, int]
Hear = Callable[[bytes, Peer], None]


class UdpPort(asyncio.DatagramProtocol):
    """Where datagrams arrive. `faults` says what the line does to them, `hear` takes them while it is set.

    A silent board hears, and its answers reach nobody; which datagram uses up a silence is the protocol's to say.
    """

    def __init__(self, host: str = LOOPBACK, port: int = 0) -> None:
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, port))
        self.port: int = self._socket.getsockname()[1]
        self._transport: asyncio.DatagramTransport | None = None
        self._faults: Callable[[], Faults] | None = None
        self.hear: Hear | None = None

    async def open(self, faults: Callable[[], Faults]) -> None:
        """Be there; what comes is lost while `hear` is None."""
        self._faults = faults
        self._transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, sock=self._socket)

    def datagram_received(self, data: bytes, addr: tuple[str | int, ...]) -> None:
        if self.hear is not None and self._faults is not None:
            self.hear(self._faults().noisy(data), (str(addr[0]), int(addr[1])))

    def send(self, data: bytes, peer: Peer) -> None:
        """Answer a client."""
        if self._transport is not None and self._faults is not None and not self._faults().silent:
            self._transport.sendto(self._faults().noisy(data), peer)

    def close(self) -> None:
        """Give the port up."""
        self.hear = None
        if self._transport is not None:
            self._transport.abort()
        else:
            self._socket.close()
