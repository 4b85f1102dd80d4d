"""The clock of a run: what the wall's said when the run began, and steady from then on.

The wall's is set while runs go on (a machine without a battery gets its time from the network): a phase must not seem
to have taken an hour, which a gate would take a fleet back for, and a soak must not last one longer.
"""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Clock:
    """Seconds since the epoch. CLOCK_MONOTONIC is one for all processes of a machine, and so is what is made of it."""

    ahead_s: float
    """Of CLOCK_MONOTONIC."""

    @classmethod
    def by_the_wall(cls) -> Clock:
        return cls(time.time() - time.monotonic())

    def __call__(self) -> float:
        return self.ahead_s + time.monotonic()
