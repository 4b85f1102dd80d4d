"""A board's RFC2217 port: a TCP server on which DTR, RTS and the baud rate arrive at the board.

The protocol is pyserial's own server side, `PortManager`; this adds a fast path for data without commands (its filter
works byte by byte) and refuses a second client, as a serial port has one.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import Any, Protocol, cast

import serial
from serial.rfc2217 import IAC, M_NORMAL, PortManager

from drivers.virtual.wire import Wire

_IAC_DOUBLED = IAC + IAC
_UNREAD_LIMIT = 1 << 20  # bytes; what a client does not read beyond it is dropped, as a full adapter drops it


class SetLines(Protocol):
    """Takes a change of the adapter's lines, one or both at once; True is asserted."""

    def __call__(self, *, dtr: bool | None = None, rts: bool | None = None) -> None: ...


class _Settings:
    """What `PortManager` takes for a serial port: each change of a setting acts on the wire or the board's lines."""

    bytesize = serial.EIGHTBITS
    stopbits = serial.STOPBITS_ONE
    xonxoff = rtscts = break_condition = False
    cts = dsr = cd = True
    ri = False

    def __init__(self, port: _Connection, set_lines: SetLines) -> None:
        self._port = port
        self._set_lines = set_lines

    @property
    def baudrate(self) -> int:
        return self._port.baud

    @baudrate.setter
    def baudrate(self, baud: int) -> None:
        self._port.flush()  # what was sent before keeps the rate that it was sent at
        self._port.baud = baud

    @property
    def parity(self) -> str:
        return self._port.parity

    @parity.setter
    def parity(self, parity: str) -> None:
        self._port.flush()
        self._port.parity = parity

    def _set_line(self, **line: bool) -> None:
        self._port.flush()
        self._set_lines(**line)

    dtr = property(None, lambda self, on: self._set_line(dtr=on))
    rts = property(None, lambda self, on: self._set_line(rts=on))

    def reset_input_buffer(self) -> None:
        """PURGE_DATA of what the host has not read: it is on its way already."""

    def reset_output_buffer(self) -> None:
        self._port.flush()


class _FastPortManager(PortManager):
    """`PortManager` whose filter passes pieces without commands at once."""

    def data(self, received: bytes, take: Callable[[bytes], None]) -> None:
        """Hand over the data in what was received, and obey the commands in it, in their order."""
        if self.mode == M_NORMAL and self.suboption is None and IAC not in received.replace(_IAC_DOUBLED, b""):
            take(received.replace(_IAC_DOUBLED, IAC))
            return
        for byte in self.filter(received):
            take(byte)


class _Connection(asyncio.Protocol):
    """One client's connection."""

    baud = 9600  # until the client sets one
    parity: str = serial.PARITY_NONE

    def __init__(self, port: Rfc2217Port) -> None:
        self._port = port
        self._wire = port.wire
        self._pending = bytearray()
        self._until_drop = port.wire.faults.line_drops_after()
        self._transport: asyncio.Transport | None = None
        self._manager: _FastPortManager | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the client, or refuse it while there is another one."""
        self._transport = cast("asyncio.Transport", transport)
        if not self._port.claim(self):
            self._transport.abort()
            return
        settings = cast("Any", _Settings(self, self._port.set_lines))
        self._manager = _FastPortManager(settings, cast("Any", self))
        self._wire.listeners.append(self)

    def data_received(self, data: bytes) -> None:
        """Bytes and commands from the client. A client that does not speak RFC2217 is disconnected."""
        if self._manager is None:
            return
        try:
            self._manager.data(data, self._pending.extend)
        except (struct.error, KeyError, TypeError, ValueError):
            # PortManager parses without checks: a malformed subnegotiation shows as any of these
            self.disconnect()
        self.flush()

    def flush(self) -> None:
        """Pass on to the board what was received so far; the line may drop in the middle of it."""
        data = bytes(self._pending)
        self._pending.clear()
        if self._until_drop is not None:
            data, self._until_drop = data[: self._until_drop], self._until_drop - len(data)
        self._wire.from_host(data, self.baud, self.parity)
        if self._until_drop is not None and self._until_drop <= 0:
            self._until_drop = None
            self._wire.faults.line_dropped()
            self.disconnect()

    def connection_lost(self, _exc: Exception | None) -> None:
        """The client is gone: both lines fall at once, which resets nothing."""
        self._manager = None
        self._port.release(self)  # first: a board on USB looks at the rate at which its port is closed
        if self in self._wire.listeners:
            self._wire.listeners.remove(self)

    def disconnect(self) -> None:
        """End the connection as a pulled plug does."""
        self._manager = None
        if self._transport is not None:
            self._transport.abort()

    def deliver(self, data: bytes) -> None:
        """Bytes from the board to the client."""
        self.write(data.replace(IAC, _IAC_DOUBLED))

    def write(self, data: bytes) -> None:
        """Bytes to the network; `PortManager` answers through this."""
        if self._transport is not None and self._transport.get_write_buffer_size() < _UNREAD_LIMIT:
            self._transport.write(data)


class Rfc2217Port:
    """The server of one board."""

    def __init__(self, wire: Wire, set_lines: SetLines) -> None:
        self.wire = wire
        self.set_lines = set_lines
        self._client: _Connection | None = None
        self._server: asyncio.Server | None = None

    async def open(self) -> str:
        """Listen on a free port of this machine only; the URL for pyserial."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        return f"rfc2217://{host}:{port}"

    def close(self) -> None:
        """Stop listening and let the client go."""
        if self._server is not None:
            self._server.close()
        if self._client is not None:
            self._client.disconnect()

    def claim(self, connection: _Connection) -> bool:
        """Whether the port was free and is now this client's."""
        if self._client is not None:
            return False
        self._client = connection
        return True

    @property
    def is_in_use(self) -> bool:
        return self._client is not None

    def release(self, connection: _Connection) -> None:
        """The client is gone."""
        if self._client is connection:
            self._client = None
            self.set_lines(dtr=False, rts=False)
