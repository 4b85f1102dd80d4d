"""What a program on the chip does next: a boot loader is a generator of these, without clock, wire or file. Pure.

A `Receive` is answered with the byte, or with None when its time is over; everything else with None.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True)
class Receive:
    """Wait for a byte from the UART (or from USB), no longer than `timeout_s` seconds."""

    timeout_s: float | None


@dataclass(frozen=True)
class Countdown:
    """From now on the program has so many seconds, which `ReceiveInTime` watches."""

    seconds: float


@dataclass(frozen=True)
class ReceiveInTime:
    """Wait for a byte until the countdown is over; answered as a `Receive` is."""


@dataclass(frozen=True)
class DropPacket:
    """What is left of the USB packet that the last byte came in is lost."""


@dataclass(frozen=True)
class Pause:
    """Busy, and deaf to the UART, for so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Send:
    """Bytes out of the UART."""

    data: bytes


@dataclass(frozen=True)
class ErasePage:
    """SPM: erase the page that `address` lies in."""

    address: int


@dataclass(frozen=True)
class ProgramPage:
    """SPM: program the page buffer into flash, where it only clears bits. `data` begins at the page's beginning."""

    address: int
    data: bytes


@dataclass(frozen=True)
class WriteEeprom:
    """One byte into the EEPROM."""

    address: int
    value: int


@dataclass(frozen=True)
class SetLockBits:
    """SPM: clear lock bits, those that are 0 in `value`."""

    value: int


Step = (
    Receive
    | ReceiveInTime
    | Countdown
    | DropPacket
    | Pause
    | Send
    | ErasePage
    | ProgramPage
    | WriteEeprom
    | SetLockBits
)


class Exit(Enum):
    """How a boot loader ends."""

    WATCHDOG = "the watchdog resets the chip"
    START_APP = "a jump to address 0"
    HUNG = "it loops for ever, or its stack is gone: only a reset helps"


Program = Generator[Step, int | None, Exit]
