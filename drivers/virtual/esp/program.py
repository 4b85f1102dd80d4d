"""What a running program is to the board: how it ends, and how it takes frames from the wire."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from drivers.virtual.esp import slip
from drivers.virtual.esp.chips import Reason
from drivers.virtual.wire import Wire


@dataclass(frozen=True)
class Reset:
    """The chip resets itself; the strapping pins keep what they were at the last reset of the pin."""

    reason: Reason
    after_s: float = 0.0


@dataclass(frozen=True)
class RunFlash:
    """The loader ends and starts what is in flash, without a reset."""


@dataclass(frozen=True)
class Jump:
    """The CPU goes on in RAM."""

    entry: int


Exit = Reset | RunFlash | Jump


class Frames:
    """The frames that arrive on a wire, one after the other."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._decoder = slip.Decoder()
        self._ready: deque[bytes] = deque()

    async def next(self) -> bytes:
        """Wait for a frame."""
        while not self._ready:
            self._ready.extend(self._decoder.feed(await self._wire.receive()))
        return self._ready.popleft()
