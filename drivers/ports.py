"""Opening a port: pyserial's, and an RFC2217 client fast enough to read a backup through."""

from __future__ import annotations

import socket
import threading
import time
import warnings
from collections.abc import Callable

import serial
import serial.rfc2217
from serial.rfc2217 import DO, DONT, IAC, SB, SE, WILL, WONT

_RECEIVE_SIZE = 0x10000


def closed_port(url: str) -> serial.Serial:
    """A port that is not open yet, for exclusive use: a device file, or a URL that pyserial knows."""
    if url.startswith("rfc2217://"):
        port = Rfc2217Port()
        port.port = url
        return port  # type: ignore[return-value]  # pyserial's classes share an interface, not a base that says so
    return serial.serial_for_url(url, do_not_open=True, exclusive=True)


class _Inbox:
    """Bytes that arrived, for one reader; `lost` once there will be no more."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._changed = threading.Condition()
        self._lost = False

    def __len__(self) -> int:
        return len(self._data)

    def put(self, data: bytes) -> None:
        with self._changed:
            self._data += data
            self._changed.notify()

    def lose(self) -> None:
        with self._changed:
            self._lost = True
            self._changed.notify()

    def clear(self) -> None:
        with self._changed:
            self._data.clear()

    def take(self, size: int, timeout_s: float | None) -> bytes:
        """Up to `size` bytes: as many as have come when that many are there or the time is over."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with self._changed:
            while len(self._data) < size and not self._lost:
                left_s = None if deadline is None else deadline - time.monotonic()
                if left_s is not None and left_s <= 0:
                    break
                self._changed.wait(left_s)
            if self._lost and not self._data and size:
                raise serial.SerialException("connection failed: the server has closed it")
            taken = bytes(self._data[:size])
            del self._data[:size]
            return taken


class Rfc2217Port(serial.rfc2217.Serial):
    """pyserial's client with two costs taken out (benchmarks/rfc2217_client.py).

    It negotiates all settings anew, at 50 ms at least, whenever the read timeout is set, which esptool does for every
    packet; and it queues each byte by itself. The negotiation itself stays pyserial's.
    """

    # pyserial's own, which its type stubs leave out
    _socket: socket.socket | None
    _telnet_negotiate_option: Callable[[bytes, bytes], None]
    _telnet_process_subnegotiation: Callable[[bytes], None]
    _telnet_process_command: Callable[[bytes], None]

    def __init__(self) -> None:
        self._inbox = _Inbox()
        super().__init__()

    def open(self) -> None:
        self._inbox = _Inbox()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # pyserial 3.5 names its thread in an old way
            super().open()

    def close(self) -> None:
        """pyserial's leaves its socket open where the server was faster."""
        connection = self._socket
        super().close()
        if connection is not None:
            connection.close()

    @property
    def timeout(self) -> float | None:
        """Seconds that a read waits; the client's own affair, nothing of it goes to the server."""
        return self._timeout

    @timeout.setter
    def timeout(self, timeout: float | None) -> None:
        self._timeout = timeout

    @property
    def in_waiting(self) -> int:
        self._need_open()
        return len(self._inbox)

    def read(self, size: int = 1) -> bytes:
        self._need_open()
        return self._inbox.take(size, self._timeout)

    def reset_input_buffer(self) -> None:
        self._need_open()
        self.rfc2217_send_purge(serial.rfc2217.PURGE_RECEIVE_BUFFER)
        self._inbox.clear()

    def _need_open(self) -> None:
        if not self.is_open:
            raise serial.PortNotOpenError

    def _telnet_read_loop(self) -> None:
        """The reader thread, in place of pyserial's."""
        telnet, connection = _Telnet(self, self._inbox), self._socket
        while self.is_open and connection is not None:
            try:
                data = connection.recv(_RECEIVE_SIZE)
            except TimeoutError:
                continue
            except OSError:
                break
            if not data:
                break
            try:
                telnet.feed(data)
            except OSError:  # it answers some of what it hears, and the server may be gone meanwhile
                break
        self._inbox.lose()


class _Telnet:
    """Splits what arrives into data, commands, options and subnegotiations (RFC 854, RFC 855)."""

    def __init__(self, port: Rfc2217Port, inbox: _Inbox) -> None:
        self._port = port
        self._inbox = inbox
        self._suboption: bytearray | None = None
        self._command = b""  # IAC, or IAC and an option's verb, of which the rest has not come yet

    def feed(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            if self._command:
                self._after_iac(data[at : at + 1])
                at += 1
                continue
            iac = data.find(IAC, at)
            end = iac if iac != -1 else len(data)
            self._data(data[at:end])
            if iac != -1:
                self._command = IAC
            at = end + 1

    def _data(self, data: bytes) -> None:
        if self._suboption is not None:
            self._suboption += data
        elif data:
            self._inbox.put(data)

    def _after_iac(self, byte: bytes) -> None:
        command, self._command = self._command, b""
        if command != IAC:
            self._port._telnet_negotiate_option(command, byte)
        elif byte == IAC:
            self._data(IAC)
        elif byte in (DO, DONT, WILL, WONT):
            self._command = byte
        elif byte == SB:
            self._suboption = bytearray()
        elif byte == SE:
            suboption, self._suboption = self._suboption, None
            self._port._telnet_process_subnegotiation(bytes(suboption or b""))
        else:
            self._port._telnet_process_command(byte)
