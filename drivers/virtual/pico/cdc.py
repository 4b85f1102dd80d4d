"""The application's serial port as hosts see it: USB CDC, on RFC2217 and on a pty.

It has no baud rate of its own: bytes pass at any. A host that sets 1200 baud and drops DTR asks for the boot loader; on
a pty, which has no DTR, closing it does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from drivers.virtual.pty import PtyPort
from drivers.virtual.serial_station import SerialBoard
from drivers.virtual.wire import Listener, Wire

TOUCH_BAUD = 1200


class CdcWire(Wire):
    """The port's two directions."""

    def from_host(self, data: bytes, baud: int, parity: str | None = None) -> None:  # noqa: ARG002
        super().from_host(data, self.baud)

    def _deliver(self, data: bytes) -> None:
        for listener in tuple(self.listeners):
            listener.deliver(data)


class Terminal:
    """Who has the port open, on either face: sets `present`, and hears the touch."""

    def __init__(self, wire: Wire, on_touch: Callable[[], None]) -> None:
        self._wire = wire
        self._on_touch = on_touch
        self._listeners: tuple[Listener, ...] = ()
        self._open = {"network": False, "pty": False}
        self.present = asyncio.Event()

    def lines(self, *, dtr: bool | None = None) -> None:
        """DTR as it comes over RFC2217; a client that goes drops it."""
        if dtr is None:
            return
        at_touch_rate = any(listener.baud == TOUCH_BAUD for listener in (*self._listeners, *self._wire.listeners))
        self._listeners = tuple(self._wire.listeners) if dtr else ()
        self._set("network", is_open=dtr and not at_touch_rate)  # who touches is no terminal
        if at_touch_rate and not dtr:
            self._on_touch()

    def pty(self, *, is_open: bool, touched: bool = False) -> None:
        """The pty was opened or closed."""
        at_touch_rate = any(listener.baud == TOUCH_BAUD for listener in self._wire.listeners)
        self._set("pty", is_open=is_open and not at_touch_rate)
        if touched:
            self._on_touch()

    def _set(self, face: str, *, is_open: bool) -> None:
        self._open[face] = is_open
        if any(self._open.values()):
            self.present.set()
        else:
            self.present.clear()


class CdcBoard(SerialBoard, Protocol):
    """A board with such a port."""

    @property
    def terminal(self) -> Terminal: ...


class CdcPty(PtyPort):
    """A pty that tells when it was closed, and whether at 1200 baud."""

    def __init__(self, board: CdcBoard) -> None:
        self._terminal = board.terminal
        super().__init__(board)

    def _host_went(self, rate: int | None) -> None:
        super()._host_went(rate)
        touched = rate == TOUCH_BAUD
        if touched:
            self._forget_rate()
        self._terminal.pty(is_open=False, touched=touched)
