"""Serial ports, as pyserial lists them. It does not list ptys: the bench has a provider of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from harness.discovery.port_links import is_own_serial, stable_name
from harness.discovery.sighting import Connection, Sighting, Status, identity_key, mac_of, plain
from harness.discovery.usb_ids import BEHIND_BRIDGES, Kind, UsbId, usb_id

if TYPE_CHECKING:
    from serial.tools.list_ports_common import ListPortInfo

PortLister = Callable[[], Iterable["ListPortInfo"]]


def list_ports() -> Iterable[ListPortInfo]:
    """pyserial's own list."""
    from serial.tools import list_ports as pyserial

    return pyserial.comports()


def sightings(lister: PortLister, links: Path) -> Iterator[Sighting]:
    """Each port with what its USB id says. `links` is /dev/serial."""
    ports = sorted(lister(), key=lambda port: port.device)
    for port in ports:
        own = is_own_serial(port.serial_number) and _is_alone(port, ports)
        yield _sighting(port, own_serial=own, links=links)


def _is_alone(port: ListPortInfo, ports: Iterable[ListPortInfo]) -> bool:
    """No other USB device has its ids and serial number; several ports of one device may."""
    mine = _usb_numbers(port)
    return len({_usb_device(other) for other in ports if _usb_numbers(other) == mine}) == 1


def _usb_numbers(port: ListPortInfo) -> tuple[object, ...]:
    return port.vid, port.pid, port.serial_number


def _usb_device(port: ListPortInfo) -> str:
    """Where the USB device is plugged in: `1-1.2` of `1-1.2:1.0`."""
    return (port.location or port.device).partition(":")[0]


def _sighting(port: ListPortInfo, *, own_serial: bool, links: Path) -> Sighting:
    entry = usb_id(port.vid, port.pid)
    serial = (port.serial_number or "").strip() if own_serial else ""
    is_board = entry is not None and entry.kind is not Kind.BRIDGE
    board_serial = (mac_of(serial) or plain(serial)) if is_board else ""
    name = stable_name(port.device, trust_id=own_serial, links=links)
    permitted = os.access(port.device, os.R_OK | os.W_OK) or not Path(port.device).exists()
    return Sighting(
        source="serial",
        keys=frozenset(_keys(port, board_serial, is_board=is_board)),
        connection=Connection(port=name),
        types=entry.types if entry else BEHIND_BRIDGES,
        certain=entry is not None and entry.certain,
        name=entry.name if entry else _name(port),
        chip=entry.chip if entry else "",
        serial=board_serial,
        status=Status.AVAILABLE if permitted else Status.NO_PERMISSION,
        remarks=tuple(_remarks(port, entry, name, own_serial=own_serial, permitted=permitted)),
        ask_only_if_named=entry is None,
    )


def _keys(port: ListPortInfo, board_serial: str, *, is_board: bool) -> Iterator[str]:
    """A board's ports are all its own; a bridge with four ports may serve four boards."""
    yield f"port:{os.path.realpath(port.device)}"
    if is_board and port.location:
        yield f"usb:{_usb_device(port)}"
    if board_serial:
        yield identity_key(board_serial)


def _name(port: ListPortInfo) -> str:
    if port.vid is None:
        return "a serial port of this machine, not on USB"
    product = plain(port.product or "unknown USB serial port")
    return f"{product} ({port.vid:04x}:{port.pid:04x})"


def _remarks(port: ListPortInfo, entry: UsbId | None, name: str, *, own_serial: bool, permitted: bool) -> Iterator[str]:
    if not permitted:
        yield "not yours to open: sudo usermod -a -G dialout $USER, then log in again"
    if entry is None:
        yield "of an unknown kind: asked only with --device-type"
    elif entry.remark:
        yield entry.remark
    if port.vid is not None and name == port.device:
        yield "udev has made no link to it: its name may be another board's after the next plugging in"
    elif port.vid is not None and not own_serial:
        yield "no USB serial number of its own: named by the socket that it is plugged into"
