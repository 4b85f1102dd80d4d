"""Where on USB a board is plugged in: that stays when its port takes another name. Reads what the system lists."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from serial.tools import list_ports


class Listed(Protocol):
    """A port as pyserial lists it, as far as it matters here."""

    device: str
    location: str | None  # "1-2.1:1.0": bus, hub's ports, configuration, interface
    pid: int | None


@dataclass(frozen=True)
class Seen:
    """The port that is there now. `number` changes whenever the board appears anew."""

    device: str
    number: str


class UsbPlace:
    """The place of the port with this name, known from the first time on that the name leads to a port on USB."""

    def __init__(self, name: str, ports: Callable[[], Iterable[Listed]] = list_ports.comports) -> None:
        self._name = name
        self._ports = ports
        self._location = ""

    @property
    def is_known(self) -> bool:
        return bool(self._location)

    def look(self) -> Seen | None:
        """What is there now; None where nothing is, or the port is not on this machine's USB."""
        if "://" in self._name:
            return None
        device = os.path.realpath(self._name)
        for port in sorted(self._ports(), key=lambda port: port.device):
            location = (port.location or "").partition(":")[0]
            if location and port.device == device and not self._location:
                self._location = location
            if location and location == self._location:
                return Seen(port.device, _number(port))
        return None


def _number(port: Listed) -> str:
    """The system's number of this connection, of which no two are the same; else the product, which differs between
    Caterina and the application.
    """
    path = getattr(port, "usb_device_path", None)
    try:
        return Path(path, "devnum").read_text(encoding="ascii").strip() if path else f"{port.pid}"
    except OSError:  # it has just gone
        return f"{port.pid}"
