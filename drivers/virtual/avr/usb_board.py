"""A Leonardo or a Micro: a chip that is the USB device itself, reset into its boot loader by a touch.

Source: `CDC.cpp` of Arduino's AVR core 1.8: DTR off while the rate is 1200 starts the watchdog, 120 ms; DTR on again
within that time stops it.
"""

from __future__ import annotations

import asyncio

from drivers.virtual.avr.board import Board, MakeMemory
from drivers.virtual.avr.chip import Chip
from drivers.virtual.avr.usb_chip import UsbChip
from drivers.virtual.faults import Faults
from drivers.virtual.pty import PtyPort
from drivers.virtual.spec import Speed
from drivers.virtual.timing import Pace
from drivers.virtual.wire import Wire

TOUCH_BAUD = 1200
WATCHDOG_S = 0.12
_USB_RATE = 640_000  # for the pace: one packet of 64 bytes in each frame of 1 ms


class UsbWire(Wire):
    """Bulk endpoints: the rate that a host sets is but a number to the board."""

    def __init__(self, pace: Pace, faults: Faults) -> None:
        super().__init__(pace, faults)
        self.baud = _USB_RATE

    def from_host(self, data: bytes, baud: int, parity: str | None = None) -> None:
        del baud, parity
        super().from_host(data, self.baud)

    def _deliver(self, data: bytes) -> None:
        for listener in tuple(self.listeners):
            listener.deliver(data)


class UsbBoard(Board):
    """The lines are those of the CDC port; none of them is wired to RESET."""

    def __init__(self, board_id: str, make_memory: MakeMemory, speed: Speed) -> None:
        self._host_listens = asyncio.Event()
        self._chip: UsbChip | None = None
        self._watchdog: asyncio.TimerHandle | None = None
        super().__init__(board_id, make_memory, speed)

    def _make_wire(self, faults: Faults) -> UsbWire:
        return UsbWire(self._pace, faults)

    def set_lines(self, *, dtr: bool | None = None, rts: bool | None = None) -> None:
        """SET_CONTROL_LINE_STATE."""
        self._dtr = self._dtr if dtr is None else dtr
        self._rts = self._rts if rts is None else rts
        if self._dtr or self._rts:
            self._host_listens.set()
        else:
            self._host_listens.clear()
        self._stop_watchdog()
        if not self._dtr and any(listener.baud == TOUCH_BAUD for listener in self.wire.listeners):
            self.touch()

    def touch(self) -> None:
        """DTR is off at 1200 baud. An application's core hears it, a boot loader does not."""
        self._stop_watchdog()
        if self._chip is not None and self._chip.hears_touch and not self.wire.faults.reset_ignored():
            self._watchdog = asyncio.get_running_loop().call_later(WATCHDOG_S, self._restart)

    def press_reset(self) -> None:
        """Opening a port resets nothing here."""

    def _stop_watchdog(self) -> None:
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None

    def _forget(self) -> None:
        self._stop_watchdog()
        self._chip = None
        super()._forget()

    def _make_chip(self) -> Chip:
        self._chip = UsbChip(self._memory, self.wire, self._pace, self._host_listens)
        return self._chip


class UsbPty(PtyPort):
    """A pty that stands for a CDC port: opening it asserts DTR, closing it drops DTR, at the rate that was set."""

    def __init__(self, board: UsbBoard) -> None:
        self._usb = board
        super().__init__(board)

    def _press_reset(self) -> None:
        if self._reset_is_due:
            self._reset_is_due = False
            self._usb.set_lines(dtr=True, rts=True)

    def _host_went(self, rate: int | None) -> None:
        super()._host_went(rate)
        self._usb.set_lines(dtr=False, rts=False)
        if rate == TOUCH_BAUD:
            self._forget_rate()
            self._usb.touch()
