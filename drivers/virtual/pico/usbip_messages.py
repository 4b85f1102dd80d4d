"""USB/IP's messages as a server sees them. Pure. Source: Linux, Documentation/usb/usbip_protocol.rst."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from drivers.virtual.pico.usb_device import INTERFACES, VENDOR, UsbDevice

VERSION = 0x0111
REQ_DEVLIST, REP_DEVLIST = 0x8005, 0x0005
REQ_IMPORT, REP_IMPORT = 0x8003, 0x0003
OPERATION_SIZE = 8
BUSID_SIZE = 32
BUSID, BUS, DEVICE = "1-1", 1, 2
_FULL_SPEED = 2
NO_DEVICE, BUSY = 1, 2

HEADER_SIZE = 48
SUBMIT, UNLINK, RET_SUBMIT, RET_UNLINK = 1, 2, 3, 4
OUT, IN = 0, 1
LONGEST = 1 << 24  # bytes of one transfer; Linux refuses such as well


class Malformed(Exception):
    """No message of the protocol."""


@dataclass(frozen=True)
class Submit:
    sequence: int
    direction: int
    endpoint: int
    length: int
    setup: bytes


@dataclass(frozen=True)
class Unlink:
    sequence: int
    of: int


def parse_operation(data: bytes) -> int:
    """The code of a request. Raises `Malformed`."""
    version, code, _status = struct.unpack(">HHI", data)
    if version != VERSION or code not in (REQ_DEVLIST, REQ_IMPORT):
        raise Malformed(f"{version:#06x} {code:#06x}")
    return int(code)


def parse_busid(data: bytes) -> str:
    return data.partition(b"\0")[0].decode("ascii", "replace")


def parse_command(data: bytes) -> Submit | Unlink:
    """Raises `Malformed`."""
    command, sequence, devid, direction, endpoint = struct.unpack_from(">5I", data)
    _flags, length = struct.unpack_from(">Ii", data, 20)
    if command == UNLINK:
        return Unlink(sequence, struct.unpack_from(">I", data, 20)[0])
    is_ours = devid == (BUS << 16 | DEVICE) and direction in (OUT, IN) and endpoint < 16
    if command != SUBMIT or not is_ours or not 0 <= length < LONGEST:
        raise Malformed(f"command {command:#x} of {length} bytes for device {devid:#x}")
    return Submit(sequence, direction, endpoint, length, data[40:48])


def devlist(device: UsbDevice | None) -> bytes:
    """The reply to REQ_DEVLIST."""
    reply = struct.pack(">HHII", VERSION, REP_DEVLIST, 0, int(device is not None))
    if device is None:
        return reply
    return reply + _described(device) + b"".join(struct.pack(">4B", *kind, 0) for kind in INTERFACES)


def imported(device: UsbDevice) -> bytes:
    """The reply to a REQ_IMPORT that is granted."""
    return struct.pack(">HHI", VERSION, REP_IMPORT, 0) + _described(device)


def import_refused(status: int) -> bytes:
    return struct.pack(">HHI", VERSION, REP_IMPORT, status)


def _described(device: UsbDevice) -> bytes:
    return struct.pack(
        ">256s32sIIIHHHBBBBBB",
        f"/sys/devices/platform/bench/usb{BUS}/{BUSID}".encode(),
        BUSID.encode(),
        BUS,
        DEVICE,
        _FULL_SPEED,
        VENDOR,
        device.chip.product_id,
        0x0100,
        *(0, 0, 0),
        1,
        1,
        len(INTERFACES),
    )


def ret_submit(submit: Submit, status: int, actual: int, data: bytes) -> bytes:
    """Zeros stand where the protocol wants them: devid, direction and endpoint of a reply."""
    return struct.pack(">5Iiiiii8x", RET_SUBMIT, submit.sequence, 0, 0, 0, status, actual, 0, 0, 0) + data


def ret_unlink(unlink: Unlink, status: int) -> bytes:
    return struct.pack(">5Ii24x", RET_UNLINK, unlink.sequence, 0, 0, 0, status)
