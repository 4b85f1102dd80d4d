"""How long a real board takes, and where each figure comes from.

| what                       | charge                   | source                                                   |
| -------------------------- | ------------------------ | -------------------------------------------------------- |
| a byte on the wire         | 10 bits at the baud rate | 8N1                                                      |
| reset to the loader's SYNC | 0.4 s                    | measured on ESP32 devkits                                |
| MD5 over flash             | 2 ms + 3.3 s/MB          | idftool's measurements, ESP32-S3                         |
| programming                | 1.6 s/MB                 | W25Q32JV datasheet: 0.4 ms typical per page of 256 bytes |
| erasing                    | 7.0 s/MB, by the sector  | idftool, ESP32-S3: 8.6 s/MB for erase + program together |
| finding a sector blank     | 0.4 ms                   | 4 KiB at 80 Mbit/s (DIO, 40 MHz)                         |
| erasing the whole chip     | 2.5 s/MB                 | W25Q32JV datasheet: 10 s typical for 4 MB                |

A megabyte is 10^6 bytes. At `fast` speed nothing is charged.
"""

from __future__ import annotations

import asyncio
import time

from drivers.virtual.spec import Speed

_MB = 1_000_000
BITS_PER_BYTE = 10  # start bit, eight data bits, stop bit
RESET_TO_SYNC_S = 0.4
BLANK_CHECK_S = 0.0004  # for one sector


def wire_s(size: int, baud: int) -> float:
    """Seconds that `size` bytes take on the wire."""
    return size * BITS_PER_BYTE / baud


def md5_s(size: int) -> float:
    """Seconds of an MD5 over `size` bytes of flash, computed on the chip."""
    return 0.002 + 3.3 * size / _MB


def program_s(size: int) -> float:
    """Seconds of programming `size` bytes."""
    return 1.6 * size / _MB


def erase_s(size: int) -> float:
    """Seconds of erasing `size` bytes by sectors and blocks."""
    return 7.0 * size / _MB


def chip_erase_s(size: int) -> float:
    """Seconds of one chip erase command."""
    return 2.5 * size / _MB


async def delay(seconds: float) -> None:
    """Wait at any speed: for what somebody asked to take that long, and for what must not spin."""
    if seconds > 0:
        await asyncio.sleep(seconds)


class Pace:
    """Waits as long as the real thing takes, or not at all."""

    def __init__(self, speed: Speed) -> None:
        self._real = speed is Speed.REALISTIC
        self._wire_free_at = {"in": 0.0, "out": 0.0}

    async def charge(self, seconds: float) -> None:
        """Wait for an operation of so many seconds."""
        if self._real and seconds > 0:
            await asyncio.sleep(seconds)

    def arrival(self, direction: str, size: int, baud: int) -> float:
        """When `size` bytes that are sent now will have passed the wire, after those before them (monotonic time)."""
        if not self._real:
            return 0.0
        start = max(time.monotonic(), self._wire_free_at[direction])
        self._wire_free_at[direction] = start + wire_s(size, baud)
        return self._wire_free_at[direction]

    def clear(self) -> None:
        """Nothing is on the wire any more: what was, is lost."""
        self._wire_free_at = {"in": 0.0, "out": 0.0}

    async def until(self, moment: float) -> None:
        """Wait for a moment that `arrival` named."""
        await delay(moment - time.monotonic())
