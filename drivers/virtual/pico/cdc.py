"""The application's serial port as hosts see it: USB CDC, on RFC2217 and on a pty.

It has no baud rate of its own: bytes pass at any. A host that sets 1200 baud and drops DTR asks for the boot loader; on
a pty, which has no DTR, closing it does.
"""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import Callable

from drivers.virtual.pty import _POLL_S, _TCGETS2, _TERMIOS2, PtyPort
from drivers.virtual.rfc2217 import Rfc2217Port
from drivers.virtual.wire import Listener, Wire

TOUCH_BAUD = 1200
_TCSETS2 = 0x402C542B
_CBAUD, _CIBAUD_SHIFT, _BOTHER = 0o010017, 16, 0o010000  # c_cflag: the rate is the one in the structure's last fields
_IDLE_BAUD = 115200


class CdcWire(Wire):
    """The port's two directions."""

    def from_host(self, data: bytes, baud: int) -> None:  # noqa: ARG002
        super().from_host(data, self.baud)

    def _deliver(self, data: bytes) -> None:
        for listener in tuple(self.listeners):
            listener.deliver(data)


class CdcPty(PtyPort):
    """A pty that tells when it was closed at 1200 baud."""

    on_touch: Callable[[], None]

    def _watch(self) -> None:
        if self.baud == TOUCH_BAUD and self._poll.poll(0):
            self._forget_rate()
            self.on_touch()
        super()._watch()

    def _forget_rate(self) -> None:
        """A pty keeps its settings; a CDC port that appears anew does not."""
        fields = list(_TERMIOS2.unpack(fcntl.ioctl(self._master, _TCGETS2, bytes(_TERMIOS2.size))))
        fields[2] = (fields[2] & ~(_CBAUD | _CBAUD << _CIBAUD_SHIFT)) | _BOTHER
        fields[-2:] = [_IDLE_BAUD, _IDLE_BAUD]
        fcntl.ioctl(self._master, _TCSETS2, _TERMIOS2.pack(*fields))


class Terminal:
    """Who has the port open: sets `present`, and hears the touch."""

    def __init__(self, wire: Wire, on_touch: Callable[[], None]) -> None:
        self._wire = wire
        self._on_touch = on_touch
        self._listeners: tuple[Listener, ...] = ()
        self.present = asyncio.Event()

    def lines(self, *, dtr: bool | None = None) -> None:
        """DTR as it comes over RFC2217; a client that goes drops it."""
        if dtr:
            self._listeners = tuple(self._wire.listeners)
            self.present.set()
        elif dtr is False:
            touched = any(listener.baud == TOUCH_BAUD for listener in self._listeners)
            self._listeners = ()
            if not self._wire.listeners:
                self.present.clear()
            if touched:
                self._on_touch()


__all__ = ["TOUCH_BAUD", "_POLL_S", "CdcPty", "CdcWire", "Rfc2217Port", "Terminal"]
