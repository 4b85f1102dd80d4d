"""The application's serial port (USB CDC): the touch that ends the application, and its console.

Opening the port at 1200 baud and dropping DTR starts the boot loader: pico-sdk's `pico_stdio_usb` (reset interface,
`PICO_STDIO_USB_ENABLE_RESET_VIA_BAUD_RATE`), Arduino cores, MicroPython's and CircuitPython's builds do that.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import serial

from drivers.base import Link, Log
from drivers.ports import closed_port
from drivers.translation import LOST_PORT

_TTY_CLASS = Path("/sys/class/tty")
_TOUCH_BAUD = 1200
_TOUCH_S = 0.1  # until the host has told the device
_REOPEN_PAUSE_S = 0.1


class AppPort:
    """The port, which comes and goes with the application. Empty `Link.port`: there is none."""

    def __init__(self, link: Link, log: Log, tty_class: Path = _TTY_CLASS) -> None:
        self._url = link.port
        self._tty_class = tty_class
        self._baudrate = link.baudrate
        self._log = log
        self._port: serial.Serial | None = None

    @property
    def is_named(self) -> bool:
        return bool(self._url)

    @property
    def is_plugged_in(self) -> bool:
        """Whether the application's USB device is there for certain; False where nothing tells (URLs, ptys)."""
        name = Path(self._url).resolve().name if self._url.startswith("/") else ""
        return bool(name) and Path(self._url).exists() and (self._tty_class / name / "device").exists()

    def touch(self) -> bool:
        """Ask the application for the boot loader; False where no port is named or nobody is there."""
        self.close()
        if not self._url:
            return False
        port = closed_port(self._url)
        port.baudrate = _TOUCH_BAUD
        try:
            port.open()
        except LOST_PORT as error:
            self._log(f"{self._url}: {error}")
            return False
        try:
            with suppress(OSError):  # a pty has no DTR; a board that obeys at once is gone
                port.dtr = False
            time.sleep(_TOUCH_S)
        finally:
            _close(port)
        return True

    def open(self, timeout_s: float) -> bool:
        """Open the console, waiting for the port to appear; False where it did not."""
        deadline = time.monotonic() + timeout_s
        while self._port is None and self._url:
            try:
                self._port = self._opened()
            except LOST_PORT:
                if time.monotonic() >= deadline:
                    return False
                time.sleep(_REOPEN_PAUSE_S)
        return self._port is not None

    def _opened(self) -> serial.Serial:
        port = closed_port(self._url)
        port.baudrate = self._baudrate
        # Applications begin to talk when DTR rises, and opening a port drops what has come until its end.
        port.dtr = False
        port.open()
        try:
            with suppress(OSError):  # a pty has none
                port.dtr = True
        except BaseException:
            _close(port)
            raise
        return port

    def read(self, timeout_s: float) -> bytes:
        """What comes within the time; empty when nothing does, or while the port is away."""
        if not self.open(timeout_s) or self._port is None:
            if not self._url:
                time.sleep(timeout_s)
            return b""
        try:
            self._port.timeout = timeout_s
            first = bytes(self._port.read(1))
            return first + bytes(self._port.read(self._port.in_waiting)) if first else b""
        except LOST_PORT:
            # The port leaves the bus with each reset: it is opened again with the next call.
            self.close()
            time.sleep(min(_REOPEN_PAUSE_S, timeout_s))
            return b""

    def write(self, data: bytes) -> None:
        """Raises OSError."""
        if not self.open(0.0) or self._port is None:
            raise serial.SerialException(f"could not open port {self._url or '(none is named)'}")
        self._port.write(data)

    def close(self) -> None:
        """Never raises."""
        if self._port is not None:
            _close(self._port)
            self._port = None


def _close(port: serial.Serial) -> None:
    with suppress(OSError, RuntimeError):  # RuntimeError: pyserial's RFC2217 client's thread
        port.close()
