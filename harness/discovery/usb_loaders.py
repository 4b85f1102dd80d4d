"""Boot loaders on USB that are no serial port, from what the kernel says of its USB devices."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from harness.discovery.sighting import Connection, Sighting, Status, identity_key, plain
from harness.discovery.usb_ids import USB_LOADERS, UsbId, usb_id

# The RP2040's boot ROM gives all boards the same serial number; the RP2350's is the chip's own.
_OWN_SERIAL = ("pico2-usb",)
_CDC = 0x02  # USB's class "communications": what a serial port has


def sightings(sysfs: Path, nodes: Path) -> Iterator[Sighting]:
    """Those under `sysfs` (/sys), with their nodes in `nodes` (/dev/bus/usb)."""
    for device in sorted((sysfs / "bus" / "usb" / "devices").glob("*-*")):
        entry = usb_id(_number(device / "idVendor", 16), _number(device / "idProduct", 16), USB_LOADERS)
        if entry is not None and not _has_serial_port(device):
            yield _sighting(device, entry, nodes)


def _has_serial_port(device: Path) -> bool:
    """An application with the boot loader's USB id, as arduino-pico gives it to those of a Pico 2."""
    return any(_number(file, 16) == _CDC for file in device.glob("*:*/bInterfaceClass"))


def _sighting(device: Path, entry: UsbId, nodes: Path) -> Sighting:
    place = device.name
    serial = plain(_text(device / "serial")) if entry.types == _OWN_SERIAL else ""
    node = nodes / f"{_number(device / 'busnum') or 0:03}" / f"{_number(device / 'devnum') or 0:03}"
    permitted = not node.exists() or os.access(node, os.R_OK | os.W_OK)
    refused = ("not yours to open: it needs a udev rule for its USB id, or root",)
    return Sighting(
        source="usb",
        keys=frozenset({f"usb:{place}", *([identity_key(serial)] if serial else [])}),
        connection=Connection(usb=serial or place),
        types=entry.types,
        certain=entry.certain,
        name=entry.name,
        serial=serial,
        status=Status.AVAILABLE if permitted else Status.NO_PERMISSION,
        remarks=(*filter(None, [entry.remark]), *(() if permitted else refused)),
    )


def _text(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8", "replace").strip()
    except OSError:
        return ""


def _number(file: Path, base: int = 10) -> int | None:
    try:
        return int(_text(file), base)
    except ValueError:
        return None
