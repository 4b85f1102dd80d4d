"""The port of a board whose chip is the USB device itself (Leonardo, Micro): boot loader and application take turns.

Each of them brings a port of its own, often under another name, so that no port can be kept. From the application, a
touch leads to the boot loader: opened at 1200 baud, DTR off, closed (`CDC.cpp` of Arduino's AVR core). What the Arduino
IDE (go-serial-utils) and PlatformIO do afterwards is done here too: nothing is opened for half a second, since DTR
would call the reset off; then the new port is waited for. A boot loader ignores a touch, and its port stays.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import serial

from drivers.avr.port import POLL_S
from drivers.avr.usb_place import Seen, UsbPlace
from drivers.base import BootFailed, ConnectionLost, Log
from drivers.ports import closed_port
from drivers.translation import LOST_PORT

_TOUCH_BAUD = 1200
_HOLD_OFF_S = 0.5  # go-serial-utils: "DTR … would cancel the WDT reset if it happens within 250 ms"
_BLIND_S = 0.7  # more, behind a server of ports: the board can not be seen, and its USB needs time there too
_IGNORED_AFTER_S = 2.5  # a board that is there all the time has ignored the touch: it is in its boot loader
_COMES_BACK_S = 6.0  # of the boot loader's eight seconds
_LEAVES_S = 2.0  # Caterina stays for 0.5 s after 'E'; then the application's port has to come
_LEAVES_SOONEST_S = 0.7
_LOOK_S = 0.05
_ADVICE = (
    "Press RESET on the board, and run it again within the eight seconds of its boot loader. Name its port by "
    "/dev/serial/by-path: by-id may differ between boot loader and application."
)
# More than a block: a boot loader that was cut off inside of one takes all of them for data. Between commands it
# ignores an ESC, and the rest of its packet.
_RESYNC = b"\x1b" * 192


class CdcPort:
    """See `port.BoardPort`. `patience_s`: how long a port that is not there is waited for."""

    def __init__(self, name: str, log: Log, patience_s: float, place: UsbPlace | None = None) -> None:
        self._name = name
        self._log = log
        self._patience_s = patience_s
        self._place = place or UsbPlace(name)
        self._port = closed_port(name)
        self._is_remote = "://" in name
        self._left: tuple[float, Seen | None] | None = None  # when the boot loader was told to end, and its port
        self._in_step = True  # whether the last conversation with the boot loader was ended properly

    def enter_loader(self, baud: int) -> None:
        """Raises `ConnectionLost` where the boot loader's port does not come, and what pyserial raises."""
        self.close()
        self._wait_for_application()
        self._wait_for_port()
        before = self._place.look()
        self._touch()
        self._wait_for_loader(before)
        self.open(baud)
        if not self._in_step:
            self._resync()
        self._in_step = False

    def left_loader(self) -> None:
        """avrdude has ended the boot loader, with 'E': the port is about to go."""
        self._left = (time.monotonic(), self._place.look())
        self._in_step = True
        self.close()

    def start_application(self, baud: int) -> None:
        """The boot loader was told to end. Raises `BootFailed` where no port comes, and what pyserial raises."""
        self._wait_for_application()
        if self._place.is_known and not _until(lambda: self._place.look() is not None, self._patience_s):
            raise BootFailed("the application brings no port: it does not run, or has no USB", advice=_ADVICE)
        self.open(baud)

    def _wait_for_application(self) -> None:
        """After `left_loader`, so that a touch does not reach a boot loader that is about to go."""
        if self._left is None:
            return
        (since, loader), self._left = self._left, None
        time.sleep(max(0.0, since + _LEAVES_SOONEST_S - time.monotonic()))
        while (loader or self._is_remote) and time.monotonic() < since + _LEAVES_S:
            seen = self._place.look()
            if loader is not None and seen is not None and seen.number != loader.number:
                return
            time.sleep(_LOOK_S)

    def _wait_for_port(self) -> None:
        """It may be about to come: the application was just started, or somebody presses RESET."""
        if self._is_there():
            return
        self._log("the board's port is not there: press RESET on the board")
        if not _until(self._is_there, self._patience_s) and self._place.is_known:
            raise ConnectionLost(f"no port is where the board was on USB ({self._name})", advice=_ADVICE)

    def _is_there(self) -> bool:
        if self._place.look() is not None:
            return True
        return not self._place.is_known and (self._is_remote or Path(self._name).exists())

    def _touch(self) -> None:
        port = self._new_port()
        port.baudrate = _TOUCH_BAUD
        port.open()
        try:
            with contextlib.suppress(OSError):  # a pty has no lines: closing it is all
                port.dtr = False
        finally:
            port.close()
        time.sleep(_HOLD_OFF_S)

    def _wait_for_loader(self, before: Seen | None) -> None:
        if before is None:
            time.sleep(_BLIND_S if self._is_remote else 0)  # a device file that is not on USB stays where it is
            return
        begun, went = time.monotonic(), False
        while time.monotonic() < begun + _COMES_BACK_S:
            seen = self._place.look()
            went = went or seen is None
            if seen is not None and (seen.number != before.number):
                return
            if not went and time.monotonic() > begun + _IGNORED_AFTER_S:
                return
            time.sleep(_LOOK_S)
        raise ConnectionLost("the boot loader's port did not appear after the touch", advice=_ADVICE)

    def _resync(self) -> None:
        self._log("the boot loader may be in the middle of a command: its rest is filled up")
        self._port.write(_RESYNC)
        while self.read():
            pass

    def open(self, baud: int) -> None:
        """A port that has just appeared is not everybody's at once: udev and ModemManager are at it."""
        if self._port.is_open:
            return
        end = time.monotonic() + self._patience_s
        while True:
            self._port = self._new_port()
            self._port.baudrate = baud
            try:
                self._open_port()
            except LOST_PORT:
                if time.monotonic() > end:
                    raise
                time.sleep(_LOOK_S * 4)
            else:
                self._port.timeout = POLL_S
                return

    def _open_port(self) -> None:
        """A sketch begins to speak with DTR; pyserial's RFC2217 client clears its input for long after that."""
        if self._is_remote:
            self._port.dtr = self._port.rts = False
        self._port.open()
        if self._is_remote:
            self._port.dtr = self._port.rts = True

    def _new_port(self) -> serial.Serial:
        seen = self._place.look()
        return closed_port(seen.device if seen else self._name)

    def let_go(self) -> None:
        """No line of this port leads to RESET."""

    def press(self) -> None:
        """Nor can it be pressed."""

    def read(self) -> bytes:
        first = bytes(self._port.read(1))
        return first + bytes(self._port.read(self._port.in_waiting)) if first else b""

    def hear(self) -> bytes:
        """As `read`; an application's port that vanishes (it resets itself) is closed, to be opened again."""
        try:
            return self.read()
        except LOST_PORT:
            self.close()
            return b""

    def write(self, data: bytes) -> None:
        self._port.write(data)

    def close(self) -> None:
        # RuntimeError: pyserial's RFC2217 client joins a reader thread that it may not have started
        with contextlib.suppress(OSError, RuntimeError):
            self._port.close()


def _until(is_so: Callable[[], bool], within_s: float) -> bool:
    end = time.monotonic() + within_s
    while not is_so():
        if time.monotonic() > end:
            return False
        time.sleep(_LOOK_S)
    return True
