"""USB/IP as a client: the messages as bytes, and one imported device over one connection.

Source: Linux, Documentation/usb/usbip_protocol.rst. Linux's own client needs root and the module vhci-hcd on this
machine, and shows the device to every program; this one serves the one session that has the board.
"""

from __future__ import annotations

import errno
import socket
import struct
from dataclasses import dataclass

DEFAULT_PORT = 3240
_VERSION = 0x0111
_REQ_DEVLIST, _REP_DEVLIST = 0x8005, 0x0005
_REQ_IMPORT, _REP_IMPORT = 0x8003, 0x0003
_OP = struct.Struct(">HHI")
_DEVICE = struct.Struct(">256s32sIIIHHHBBBBBB")
_INTERFACE = struct.Struct(">BBBB")
_BUSID_SIZE = 32
_MOST_DEVICES = 1024

_SUBMIT, _RET_SUBMIT = 1, 3
_BASIC = struct.Struct(">IIIII")  # command, seqnum, devid, direction, endpoint
_SUBMIT_REST = struct.Struct(">Iiiii8s")  # flags, length, start frame, packets, interval, setup
_RET_REST = struct.Struct(">iiiii8x")  # status, actual length, start frame, packets, errors
_HEADER = _BASIC.size + _SUBMIT_REST.size
_OUT, _IN = 0, 1
_LARGEST = 16 << 20

_IMPORT_STATUS = {1: "the server does not export it", 2: "another client has it", 3: "it is in an error state"}
_BUSY = 2
_CONNECT_S = 5.0


class UsbIpError(OSError):
    """The server, or the way to it, failed. `errno` is the system's number nearest to it."""


@dataclass(frozen=True)
class Exported:
    """A device as a server describes it."""

    busid: str
    bus: int
    number: int
    speed: int
    vendor: int
    product: int

    @property
    def devid(self) -> int:
        return self.bus << 16 | self.number


def parse_address(value: str) -> tuple[str, int, str]:
    """Host, port and bus id of `usbip://host[:port]/busid`. Raises ValueError."""
    rest = value.removeprefix("usbip://")
    place, slash, busid = rest.partition("/")
    host, colon, port = place.rpartition(":")
    if not colon:
        host, port = place, str(DEFAULT_PORT)
    if rest == value or not slash or not busid or not host or not port.isdecimal() or not 0 < int(port) < 0x10000:
        raise ValueError(f"{value!r} is not of the form usbip://host:port/busid")
    return host.strip("[]"), int(port), busid


def parse_device(data: bytes) -> Exported:
    """A `usbip_usb_device`. `data` has its size."""
    _path, busid, bus, number, speed, vendor, product, *_rest = _DEVICE.unpack(data)
    name = busid.partition(b"\0")[0].decode("ascii", "replace")
    return Exported(name, bus, number, speed, vendor, product)


class _Wire:
    """A connection to a server: whole messages or an error."""

    def __init__(self, host: str, port: int) -> None:
        try:
            self._socket = socket.create_connection((host, port), _CONNECT_S)
        except OSError as error:
            raise UsbIpError(error.errno or errno.EHOSTUNREACH, f"{host}:{port}: {error.strerror or error}") from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data: bytes, limit_s: float = _CONNECT_S) -> None:
        self._socket.settimeout(limit_s)
        try:
            self._socket.sendall(data)
        except TimeoutError:
            raise
        except OSError as error:
            raise UsbIpError(errno.ENODEV, f"the server is gone: {error}") from error

    def take(self, size: int, limit_s: float = _CONNECT_S) -> bytes:
        """Exactly `size` bytes. Raises TimeoutError and UsbIpError."""
        self._socket.settimeout(limit_s)
        data = bytearray()
        while len(data) < size:
            try:
                piece = self._socket.recv(size - len(data))
            except TimeoutError:
                raise
            except OSError as error:
                raise UsbIpError(errno.ENODEV, f"the server is gone: {error}") from error
            if not piece:
                raise UsbIpError(errno.ENODEV, "the device has left, or the server has closed the connection")
            data += piece
        return bytes(data)

    def request(self, code: int, reply: int, payload: bytes = b"") -> int:
        """The status of the reply."""
        self.send(_OP.pack(_VERSION, code, 0) + payload)
        version, got, status = _OP.unpack(self.take(_OP.size))
        if got != reply or version >> 8 != _VERSION >> 8:
            raise UsbIpError(errno.EPROTO, f"the server does not speak USB/IP (it answers {version:#06x} {got:#06x})")
        return int(status)

    def close(self) -> None:
        self._socket.close()


def exported(host: str, port: int) -> tuple[Exported, ...]:
    """The devices of a server. Raises UsbIpError and TimeoutError."""
    wire = _Wire(host, port)
    try:
        if wire.request(_REQ_DEVLIST, _REP_DEVLIST):
            raise UsbIpError(errno.EPROTO, "the server refuses to list its devices")
        (count,) = struct.unpack(">I", wire.take(4))
        if count > _MOST_DEVICES:
            raise UsbIpError(errno.EPROTO, f"the server claims to have {count} devices")
        found = []
        for _ in range(count):
            data = wire.take(_DEVICE.size)
            found.append(parse_device(data))
            wire.take(_INTERFACE.size * data[-1])
        return tuple(found)
    finally:
        wire.close()


class Imported:
    """One device for this client alone, until `close`. Transfers raise UsbIpError and TimeoutError.

    After any error but a refused transfer (EPIPE) the connection is closed: what is on it belongs to nobody any more.
    """

    def __init__(self, host: str, port: int, busid: str) -> None:
        self._wire = _Wire(host, port)
        self._sequence = 0
        try:
            self.device = self._import(busid)
        except BaseException:
            self._wire.close()
            raise

    def _import(self, busid: str) -> Exported:
        status = self._wire.request(_REQ_IMPORT, _REP_IMPORT, busid.encode().ljust(_BUSID_SIZE, b"\0"))
        if status:
            why = _IMPORT_STATUS.get(status, f"status {status}")
            raise UsbIpError(errno.EBUSY if status == _BUSY else errno.ENODEV, f"{busid} can not be had: {why}")
        return parse_device(self._wire.take(_DEVICE.size))

    def control(self, setup: bytes, data: bytes, size: int, limit_s: float) -> bytes:
        """A transfer on endpoint 0; the direction is the setup packet's."""
        return self._transfer(0, _IN if setup[0] & 0x80 else _OUT, setup, data, size, limit_s)[1]

    def bulk_in(self, endpoint: int, size: int, limit_s: float) -> bytes:
        """Up to `size` bytes."""
        return self._transfer(endpoint & 0x0F, _IN, bytes(8), b"", size, limit_s)[1]

    def bulk_out(self, endpoint: int, data: bytes, limit_s: float) -> int:
        """How many bytes went."""
        return self._transfer(endpoint & 0x0F, _OUT, bytes(8), data, len(data), limit_s)[0]

    def _transfer(
        self, endpoint: int, direction: int, setup: bytes, data: bytes, size: int, limit_s: float
    ) -> tuple[int, bytes]:
        try:
            status, actual, received = self._exchange(endpoint, direction, setup, data, size, limit_s)
        except BaseException:  # a time limit, too: the answer to this transfer would be taken for the next one's
            self.close()
            raise
        if status:
            raise UsbIpError(
                -status, "the device refuses the transfer" if status == -errno.EPIPE else "transfer failed"
            )
        return actual, received

    def _exchange(
        self, endpoint: int, direction: int, setup: bytes, data: bytes, size: int, limit_s: float
    ) -> tuple[int, int, bytes]:
        self._sequence += 1
        head = _BASIC.pack(_SUBMIT, self._sequence, self.device.devid, direction, endpoint)
        self._wire.send(head + _SUBMIT_REST.pack(0, size, 0, 0, 0, setup) + data, limit_s)
        reply = self._wire.take(_HEADER, limit_s)
        command, sequence, *_ = _BASIC.unpack_from(reply)
        status, actual, *_ = _RET_REST.unpack_from(reply, _BASIC.size)
        if command != _RET_SUBMIT or sequence != self._sequence or not 0 <= actual <= min(size, _LARGEST) or status > 0:
            raise UsbIpError(errno.EPROTO, "the server's answer makes no sense")
        received = self._wire.take(actual, limit_s) if direction == _IN else b""
        return status, actual, received

    def close(self) -> None:
        """Give the device back."""
        self._wire.close()
