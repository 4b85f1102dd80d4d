"""How an adapter reaches NRST and BOOT0, and the port's two settings: 8E1 for the boot loader, 8N1 for the console."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

import serial
from pydantic import Field, model_validator

from drivers.base import Link, Options
from drivers.ports import closed_port

_RESET_S = 0.1  # NRST low; 20 us would do (datasheets), a board's capacitor wants more
_DRAIN_S = 0.02  # what an adapter's own buffer still sends must go out as it was meant to
_REOPEN_S = 0.2  # a port that is opened anew at once was never closed, for some adapters
_PTY_MAJORS = range(136, 144)  # Linux, Documentation/admin-guide/devices.txt: UNIX98 pseudo-terminals


class LineName(StrEnum):
    DTR = "dtr"
    RTS = "rts"
    NONE = "none"


class Parity(StrEnum):
    EVEN = "even"
    NONE = "none"


class Stm32Options(Options):
    """Wiring. The defaults are stm32loader's: DTR on NRST and RTS on BOOT0, the adapter's pins straight on the chip."""

    reset_line: LineName = Field(
        default=LineName.DTR, description="Which of the adapter's lines drives NRST: dtr, rts or none."
    )
    boot0_line: LineName = Field(
        default=LineName.RTS, description="Which of the adapter's lines drives BOOT0: dtr, rts or none."
    )
    reset_inverted: bool = Field(
        default=False, description="False: the asserted line (a low pin) resets. True: there is an inverter between."
    )
    boot0_inverted: bool = Field(
        default=False, description="False: the line at rest (a high pin) is BOOT0 high. True: the asserted line is."
    )
    parity: Parity = Field(
        default=Parity.EVEN, description="Of the boot loader's UART. A pty has none, whatever is said here."
    )

    read_twice: bool = Field(
        default=True,
        description="Backups: read what is not erased until two readings agree. AN3155 has no checksum there.",
    )

    @model_validator(mode="after")
    def _are_two_lines(self) -> Stm32Options:
        if self.reset_line == self.boot0_line != LineName.NONE:
            raise ValueError(f"reset_line and boot0_line are both {self.reset_line}")
        return self


class Adapter:
    """One board's port with its lines."""

    def __init__(self, link: Link, options: Stm32Options, log: Callable[[str], None]) -> None:
        self._link = link
        self._options = options
        self._log = log
        self._port: serial.Serial | None = None
        self._is_pty = _is_pty(link.port)

    @property
    def can_reset(self) -> bool:
        """Whether a line drives NRST; what starts then is what BOOT0's line says, or its jumper."""
        return self._options.reset_line is not LineName.NONE and not self._is_pty

    @property
    def chooses_program(self) -> bool:
        """Whether lines drive both: a reset starts the boot loader or the application, as wanted."""
        return self.can_reset and self._options.boot0_line is not LineName.NONE

    @property
    def is_open(self) -> bool:
        return self._port is not None and self._port.is_open

    def for_loader(self, baudrate: int) -> serial.Serial:
        """The port, open, with the boot loader's settings."""
        even = self._options.parity is Parity.EVEN and not self._is_pty
        return self._open(baudrate, serial.PARITY_EVEN if even else serial.PARITY_NONE)

    def without_parity(self, baudrate: int) -> None:
        """As the console's, but for the rate."""
        self._open(baudrate, serial.PARITY_NONE)

    def for_console(self) -> serial.Serial:
        """The port, open, with the application's settings."""
        return self._open(self._link.baudrate, serial.PARITY_NONE)

    def _open(self, baudrate: int, parity: str) -> serial.Serial:
        if self._port is None:
            self._port = closed_port(self._link.port)
        port = self._port
        if not port.is_open:
            port.baudrate, port.parity = baudrate, parity
            self._set_lines(port, reset=False, boot0=False)  # as they are to be once it is open
            port.open()
        if (port.baudrate, port.parity) != (baudrate, parity):
            port.flush()
            time.sleep(_DRAIN_S)
            port.baudrate = baudrate
            port.parity = parity
        return port

    def reset(self, *, into_loader: bool) -> None:
        """Pulse NRST with BOOT0 as wanted; it stays so, as with stm32loader, until the next reset."""
        port = self._port
        assert port is not None, "the port was opened before"
        self._set_lines(port, reset=True, boot0=into_loader)
        time.sleep(_RESET_S)
        self._set_lines(port, reset=False, boot0=into_loader)

    def set_boot0(self, *, high: bool) -> None:
        """For the next reset, whoever presses it."""
        assert self._port is not None, "the port was opened before"
        self._set_lines(self._port, reset=False, boot0=high)

    def reopen(self) -> None:
        """Where no line resets, opening the port anew is all that a host can do: some boards reset by it."""
        if self.is_open:
            self.close()
            time.sleep(_REOPEN_S)

    def _set_lines(self, port: serial.Serial, *, reset: bool, boot0: bool) -> None:
        if self._is_pty:
            return
        asserted = {LineName.DTR: False, LineName.RTS: False}  # at rest, where nobody has said what they are for
        asserted[self._options.boot0_line] = boot0 == self._options.boot0_inverted
        asserted[self._options.reset_line] = reset != self._options.reset_inverted
        for line in self._order:
            if line is LineName.DTR:
                port.dtr = asserted[line]
            else:
                port.rts = asserted[line]

    @property
    def _order(self) -> tuple[LineName, LineName]:
        """BOOT0 first: it has to be there when the reset ends."""
        if self._options.boot0_line is LineName.DTR:
            return LineName.DTR, LineName.RTS
        return LineName.RTS, LineName.DTR

    def close(self) -> None:
        """Never raises."""
        if self._port is None:
            return
        try:
            self._port.close()
        except (serial.SerialException, OSError, RuntimeError) as error:
            # RuntimeError: pyserial's RFC2217 client joins a reader thread that it may not have started
            self._log(f"closing the port: {error}")


def _is_pty(port: str) -> bool:
    """A pseudo-terminal has neither lines nor parity: setting them is an error there."""
    try:
        status = Path(port).stat()
    except (OSError, ValueError):
        return False
    return stat.S_ISCHR(status.st_mode) and os.major(status.st_rdev) in _PTY_MAJORS
