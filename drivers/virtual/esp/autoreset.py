"""The two-transistor circuit with which DTR and RTS drive EN and IO0 on nearly every devkit.

Source: esptool documentation, "Boot Mode Selection", section "Automatic Bootloader"; ESP32-DevKitC schematic.

    DTR RTS   EN   IO0
     0   0    1    1
     1   1    1    1     EN: as it was, held by its capacitor
     0   1    0    1
     1   0    1    0

Between two single changes of the lines both are asserted for a moment. EN's capacitor bridges it on the board, which
is what lets a host that sets one line after the other reach the loader. Over a network that moment lasts longer than
any RC constant (pyserial's RFC2217 client waits 50 ms for each change to be acknowledged), so here the capacitor holds
EN for as long as it takes.
"""

from __future__ import annotations

from collections.abc import Callable


class AutoReset:
    """Follows DTR and RTS, and calls `drive(enabled, io0_low)` with each change of the pins."""

    def __init__(self, drive: Callable[[bool, bool], None]) -> None:
        self._drive = drive
        self._dtr = False
        self._rts = False
        self._enabled = True

    def set(self, *, dtr: bool | None = None, rts: bool | None = None) -> None:
        """Set one line or both at once; True is asserted."""
        self._dtr = self._dtr if dtr is None else dtr
        self._rts = self._rts if rts is None else rts
        if not (self._dtr and self._rts):
            self._enabled = not self._rts
        self._drive(self._enabled, self._dtr and not self._rts)
