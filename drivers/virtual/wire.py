"""The two data lines between a board's UART and whoever listens: baud rates, speed, noise and silence.

A UART samples at its own rate: what was sent at another one arrives as something else. Which bytes exactly is not
modelled, only that they are wrong, and fewer when the receiver is the slower side.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from drivers.virtual.faults import Faults
from drivers.virtual.timing import Pace

_TOLERANCE = 0.04  # relative; a 10-bit frame is still sampled inside of its last bit
_OVERRUN = 1 << 20  # bytes that wait for the board at most; what comes on top of them is lost
_CHUNK = 512  # bytes; what is sent at realistic speed arrives in such pieces
_GARBAGE = bytes((index * 167 + 129) & 0xFF | 0x80 for index in range(256))


class Listener(Protocol):
    """Somebody at the far end of the board's TXD line."""

    @property
    def baud(self) -> int:
        """The rate that it listens at."""

    def deliver(self, data: bytes) -> None:
        """Take bytes that arrived."""


class Wire:
    """A board's RXD and TXD. `baud` is the rate that the board's UART is set to."""

    def __init__(self, pace: Pace, faults: Faults) -> None:
        self.faults = faults
        self.baud = 115200
        self.parity: str | None = None  # of the board's UART, as pyserial names it; None: it is not looked at
        self.autobaud = False  # while set, the UART follows the sender, as the ROM does until the first SYNC
        self.listeners: list[Listener] = []
        self._pace = pace
        self._inbox: asyncio.Queue[tuple[bytes, int, str | None, float]] = asyncio.Queue()
        self._waiting = 0

    def from_host(self, data: bytes, baud: int, parity: str | None = None) -> None:
        """Bytes that a host sent at `baud`, with this parity where that can be told; the board takes them when it gets
        to them.
        """
        if not data or self._waiting + len(data) > _OVERRUN:
            return
        self._waiting += len(data)
        # The bytes travel from now on, whatever the board is busy with meanwhile.
        self._inbox.put_nowait((data, baud, parity, self._pace.arrival("in", len(data), baud)))

    def forget(self) -> None:
        """Whatever waits for the board is lost: its UART was reset, or the host purged the line."""
        while not self._inbox.empty():
            self._inbox.get_nowait()
        self._waiting = 0
        self._pace.clear()

    @property
    def has_input(self) -> bool:
        """Whether bytes wait for the board."""
        return not self._inbox.empty()

    async def receive(self) -> bytes:
        """The next bytes as the board's UART sees them; waits for them."""
        data, baud, parity, arrival = await self._inbox.get()
        self._waiting -= len(data)
        await self._pace.until(arrival)
        if self.autobaud:
            self.baud = baud
        return self.faults.noisy(_framed(_sampled(data, baud, self.baud), parity, self.parity))

    async def send(self, data: bytes) -> None:
        """Send at the UART's rate to everybody who listens; lost when nobody does."""
        pieces = [data[start : start + _CHUNK] for start in range(0, len(data), _CHUNK)]
        # All at once: a late wake-up between two pieces does not slow the wire down.
        arrivals = [self._pace.arrival("out", len(piece), self.baud) for piece in pieces]
        for piece, arrival in zip(pieces, arrivals, strict=True):
            await self._pace.until(arrival)
            if not self.faults.silent:
                self._deliver(self.faults.noisy(piece))

    def _deliver(self, data: bytes) -> None:
        for listener in tuple(self.listeners):
            # A listener without parity (a pty) takes every frame.
            parity: str | None = getattr(listener, "parity", None)
            listener.deliver(_framed(_sampled(data, self.baud, listener.baud), self.parity, parity))


def _sampled(data: bytes, sent_at: int, sampled_at: int) -> bytes:
    """What a receiver set to one rate makes of bytes that were sent at another."""
    if abs(sent_at - sampled_at) <= _TOLERANCE * sent_at:
        return data
    fewer = max(1, len(data) * sampled_at // sent_at) if sampled_at < sent_at else len(data)
    return data[:fewer].translate(_GARBAGE)


def _framed(data: bytes, sent: str | None, expected: str | None) -> bytes:
    """What a receiver makes of frames with another parity. A byte whose parity bit happens to be what the receiver
    expects there (without parity: the stop bit, a 1) gets through, as on a wire.
    """
    if None in (sent, expected) or sent == expected:
        return data
    return bytes(byte if _ninth_bit(byte, sent) == _ninth_bit(byte, expected) else _GARBAGE[byte] for byte in data)


def _ninth_bit(byte: int, parity: str | None) -> int:
    ones = byte.bit_count() & 1
    return {"E": ones, "O": ones ^ 1}.get(parity or "N", 1)
