"""How many devices each wave has. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import chain, repeat
from math import ceil

from harness.rollout.policy import WaveSize


def split(devices: Sequence[str], sizes: Sequence[WaveSize]) -> list[tuple[str, ...]]:
    """The devices in waves, in order: the last size is repeated until each is in one. No wave is empty.

    Without sizes there is one wave of all. Shares are of all these devices.
    """
    if not sizes:
        return [tuple(devices)] if devices else []
    waves: list[tuple[str, ...]] = []
    begin = 0
    for size in chain(sizes, repeat(sizes[-1])):
        if begin >= len(devices):
            return waves
        end = begin + _count(size, len(devices))
        waves.append(tuple(devices[begin:end]))
        begin = end
    raise AssertionError("sizes are repeated without end")


def split_again(devices: Sequence[str], before: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """The devices in the waves that they were in before; who was in none joins the last. No wave is empty.

    There was one wave at least.
    """
    wanted = set(devices)
    known = {device_id for wave in before for device_id in wave}
    newcomers = [device_id for device_id in devices if device_id not in known]
    *first, last = ([device_id for device_id in wave if device_id in wanted] for wave in before)
    return [tuple(wave) for wave in (*first, [*last, *newcomers]) if wave]


def _count(size: WaveSize, total: int) -> int:
    if size.percent is None:
        return max(1, size.devices or 0)
    return max(1, ceil(Fraction(str(size.percent)) * total / 100))  # as written: 32.2 % of 1000 are 322, not 323
