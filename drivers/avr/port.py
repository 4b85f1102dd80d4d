"""The serial port of an AVR board, and the ways to press its RESET.

An Arduino's RESET hangs on DTR (some adapters': RTS) by a capacitor: an edge to asserted is a reset, whatever comes
after it. Opening a port asserts DTR, so that opening alone is a reset, too. A pseudo-terminal has no lines: there,
opening is the only one.
"""

from __future__ import annotations

import contextlib
import errno
import time
from typing import Protocol

import serial

from drivers.ports import closed_port

_DISCHARGE_S = 0.25  # as avrdude's arduino.c waits for the capacitor; its comment on optiboot says why
_HELD_S = 0.05
_NO_LINES = (errno.ENOTTY, errno.EINVAL)
POLL_S = 0.05  # the longest that a read of an open port waits


class BoardPort(Protocol):
    """A port that can press RESET. Every method may raise what pyserial or the system raises."""

    def open(self, baud: int) -> None:
        """Open it where it is not, at this rate."""

    def enter_loader(self, baud: int) -> None:
        """Before the bridge: open it, and whatever brings the boot loader, where RESET does not."""

    def left_loader(self) -> None:
        """A run of avrdude has ended as it should."""

    def start_application(self, baud: int) -> None:
        """Open it with the application's beginning."""

    def let_go(self) -> None:
        """Release RESET, so that it can be pressed."""

    def press(self) -> None:
        """Press RESET, after `let_go`; what the board said before is forgotten."""

    def read(self) -> bytes:
        """What came within `POLL_S`."""

    def hear(self) -> bytes:
        """As `read`, from the application."""

    def write(self, data: bytes) -> None: ...

    def close(self) -> None:
        """Never raises."""


class ResetByLine:
    """A board behind a serial adapter. A port without lines is opened anew instead."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._port = closed_port(name)
        self._has_lines = True
        self._let_go_at = 0.0

    def open(self, baud: int) -> None:
        if not self._port.is_open:
            self._port.baudrate = baud
            self._port.open()
            self._port.timeout = POLL_S
        elif self._port.baudrate != baud:
            self._port.baudrate = baud

    def enter_loader(self, baud: int) -> None:
        self.open(baud)

    def left_loader(self) -> None:
        """The port is kept."""

    def start_application(self, baud: int) -> None:
        self.open(baud)
        self.let_go()
        self.press()

    def let_go(self) -> None:
        self._set_lines(asserted=False)
        if not self._has_lines:
            self._port.close()
        self._let_go_at = time.monotonic()

    def press(self) -> None:
        time.sleep(max(0.0, self._let_go_at + _DISCHARGE_S - time.monotonic()))
        if self._has_lines:
            self._port.reset_input_buffer()
            self._set_lines(asserted=True)
            time.sleep(_HELD_S)
        else:
            self._port.open()

    def _set_lines(self, *, asserted: bool) -> None:
        try:
            self._port.dtr = asserted
            self._port.rts = asserted
        except OSError as error:
            if error.errno not in _NO_LINES:
                raise
            self._has_lines = False

    def read(self) -> bytes:
        first = bytes(self._port.read(1))
        return first + bytes(self._port.read(self._port.in_waiting)) if first else b""

    def hear(self) -> bytes:
        return self.read()

    def write(self, data: bytes) -> None:
        self._port.write(data)

    def close(self) -> None:
        # RuntimeError: pyserial's RFC2217 client joins a reader thread that it may not have started
        with contextlib.suppress(serial.SerialException, OSError, RuntimeError):
            self._port.close()
