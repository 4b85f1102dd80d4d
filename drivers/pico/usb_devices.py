"""Finding a board's boot loader on USB: on this machine's buses through libusb, or at a USB/IP server.

`usb` names it by its serial number, by where it is plugged in ("1-1.4", bus and ports as in /sys/bus/usb/devices), or
as `usbip://host:port/busid`. Serial numbers of RP2040's ROM are all alike (the ROM's version), RP2350's are unique.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Sequence
from contextlib import suppress
from types import ModuleType
from typing import TYPE_CHECKING

from drivers.base import DeviceError, PortPermission, PortUnavailable, WrongBoard
from drivers.pico import usbip

if TYPE_CHECKING:
    from usb.core import Device

VENDOR = 0x2E8A
CHIPS = {0x0003: "rp2040", 0x000F: "rp2350"}
"""By product id of the boot ROM."""

PERMISSION_ADVICE = (
    "Let your group use Raspberry Pi's boot loaders, in /etc/udev/rules.d/99-picotool.rules: "
    'SUBSYSTEM=="usb", ATTRS{idVendor}=="2e8a", MODE="0660", GROUP="plugdev"; then plug the board in again.'
)
_PLACE = re.compile(r"\d+-\d+(?:\.\d+)*")


def usb_core() -> ModuleType:
    """pyusb. Raises `PortUnavailable` where it is not installed."""
    try:
        import usb.core
        import usb.util
    except ImportError as error:
        raise PortUnavailable("pyusb is not installed", advice="pip install pyusb") from error
    module: ModuleType = usb
    return module


def find(wanted: str) -> Device | None:
    """The boot loader that `wanted` names; None where it is not on the bus. Raises `DeviceError`."""
    if wanted.startswith("usbip://"):
        return _remote(wanted)
    found = [device for device in _local() if _is(device, wanted)]
    if len(found) > 1:
        places = ", ".join(_place(device) for device in found)
        raise WrongBoard(
            f"{len(found)} boards in their boot loaders have the serial number {wanted}",
            advice=f"Nothing was written. Name this one by where it is plugged in, as `usb`: one of {places}.",
        )
    return found[0] if found else None


def serial_number(device: Device) -> str:
    """As the boot loader tells it; empty where it does not."""
    return str(usb_core().util.get_string(device, device.iSerialNumber) or "") if device.iSerialNumber else ""


def release(device: Device) -> None:
    """Give a device back; never raises."""
    with suppress(Exception):
        usb_core().util.dispose_resources(device)
    with suppress(Exception):
        device.backend.release()  # of a USB/IP server; libusb's has no such method


def _remote(wanted: str) -> Device | None:
    core = usb_core().core
    from drivers.pico.usbip_backend import UsbIpBackend

    try:
        host, port, busid = usbip.parse_address(wanted)
    except ValueError as error:
        raise PortUnavailable(str(error), advice="Correct `usb` in the batch.") from error
    try:
        there = [device for device in usbip.exported(host, port) if device.busid == busid]
    except (usbip.UsbIpError, TimeoutError) as error:
        raise PortUnavailable(
            f"the USB/IP server at {host}:{port}: {error}", advice="Check that usbipd runs there and can be reached."
        ) from error
    if not there or there[0].vendor != VENDOR or there[0].product not in CHIPS:
        return None
    backend = UsbIpBackend(host, port, busid)
    try:
        return core.find(backend=backend, idVendor=VENDOR)
    except BaseException as error:
        backend.release()
        if isinstance(error, core.USBError) and error.errno == errno.ENODEV:
            return None  # it left in between
        raise


def _local() -> Sequence[Device]:
    core = usb_core().core
    try:
        found = core.find(find_all=True, custom_match=lambda it: it.idVendor == VENDOR and it.idProduct in CHIPS)
        return list(found)
    except core.NoBackendError as error:
        raise PortUnavailable(
            "pyusb finds no libusb", advice="Install it: apt-get install libusb-1.0-0 (macOS: brew install libusb)."
        ) from error


def _is(device: Device, wanted: str) -> bool:
    if _PLACE.fullmatch(wanted):
        return _place(device) == wanted
    try:
        return serial_number(device).lower() == wanted.lower()
    except (usb_core().core.USBError, ValueError) as error:
        if isinstance(error, ValueError) or error.errno in (
            errno.EACCES,
            errno.EPERM,
        ):  # ValueError: no langid readable
            raise _no_permission(device) from error
        return False


def _no_permission(device: Device) -> DeviceError:
    return PortPermission(f"the boot loader at {_place(device)} may not be opened", advice=PERMISSION_ADVICE)


def _place(device: Device) -> str:
    ports = ".".join(map(str, device.port_numbers or ()))
    return f"{device.bus}-{ports}"
