"""A board's faults while they last: which of them happens now, and how often it still may.

Counting starts when the fault is set: with the board, or by `Bench.set_faults`. `times` is used up as spec.py says at
each fault; a fault without `times` never ends.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from typing import TypeVar, cast

from drivers.virtual.spec import (
    BitErrors,
    Fault,
    LineDrop,
    Panics,
    PowerLoss,
    SilentLine,
    SlowErase,
    StuckInApp,
    WrongChip,
    WrongMd5,
)

_F = TypeVar("_F", bound=Fault)


class PowerLost(Exception):
    """The supply dropped in the middle of programming; `off_s` seconds later it is back, None: it stays away."""

    def __init__(self, off_s: float | None) -> None:
        super().__init__("the supply dropped")
        self.off_s = off_s


class Faults:
    """The faults of one board. `seed` makes the bit errors repeatable."""

    def __init__(self, faults: Iterable[Fault], seed: str) -> None:
        self._left = {fault: getattr(fault, "times", None) for fault in faults}
        self._programmed = 0
        self._random = random.Random(seed)  # noqa: S311 - noise, not a secret
        self._until_flip = 0
        self.silent = self._active(SilentLine) is not None
        """Whether the board's output reaches nobody at present."""

    def _active(self, kind: type[_F]) -> _F | None:
        for fault, left in self._left.items():
            if isinstance(fault, kind) and (left is None or left > 0):
                return fault
        return None

    def _use_up(self, fault: Fault) -> None:
        left = self._left[fault]
        if left is not None:
            self._left[fault] = left - 1

    def _take(self, kind: type[_F]) -> _F | None:
        fault = self._active(kind)
        if fault is not None:
            self._use_up(cast("Fault", fault))
        return fault

    @property
    def chip(self) -> str | None:
        """The chip that is really on the board."""
        fault = self._active(WrongChip)
        return fault.chip if fault else None

    def started(self, *, in_loader: bool) -> None:
        """The chip left its reset. Each time in the loader uses up one of the silences."""
        fault = self._take(SilentLine) if in_loader else self._active(SilentLine)
        self.silent = fault is not None

    def reset_ignored(self) -> bool:
        """Whether this reset does not reach the chip."""
        return self._take(StuckInApp) is not None

    def panics(self, version: str) -> bool:
        """Whether the application of this version crashes on this board."""
        fault = self._active(Panics)
        return fault is not None and version in fault.versions

    def line_drops_after(self) -> int | None:
        """Bytes from the host until this connection goes dead; None: it does not."""
        fault = self._active(LineDrop)
        return fault.after_bytes if fault else None

    def line_dropped(self) -> None:
        """The line went dead once."""
        self._take(LineDrop)

    def erase_delay_s(self) -> float:
        """Seconds that this erase takes more."""
        fault = self._take(SlowErase)
        return fault.seconds if fault else 0.0

    def digest(self, true: bytes) -> bytes:
        """The digest that is reported for `true`."""
        if self._take(WrongMd5) is None:
            return true
        return bytes([true[0] ^ 0x01]) + true[1:]

    def programmable(self, size: int) -> tuple[int, PowerLost | None]:
        """How many of `size` bytes are programmed before the supply drops, and the drop if there is one."""
        fault = self._active(PowerLoss)
        if fault is None:
            return size, None
        room = fault.at_byte - self._programmed
        if size < room:
            self._programmed += size
            return size, None
        self._programmed = 0
        self._use_up(fault)
        return max(room, 0), PowerLost(fault.off_s)

    def noisy(self, data: bytes) -> bytes:
        """`data` as it comes out of the wire."""
        fault = self._active(BitErrors)
        if fault is None or not data:
            return data
        noisy = bytearray(data)
        at = self._until_flip or self._gap(fault.rate)
        while at <= len(noisy):
            noisy[at - 1] ^= 1 << self._random.randrange(8)
            self._use_up(fault)
            if self._active(BitErrors) is not fault:
                return bytes(noisy)
            at += self._gap(fault.rate)
        self._until_flip = at - len(noisy)
        return bytes(noisy)

    def _gap(self, rate: float) -> int:
        """Bytes up to and including the next one with a flipped bit, geometrically distributed."""
        if rate >= 1:
            return 1
        return int(math.log1p(-self._random.random()) / math.log1p(-rate)) + 1
