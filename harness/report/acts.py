"""The stretches of time in which a device was worked on; between them it waited for its turn. Pure.

A device is begun more than once when its worker dies, its run is resumed, or its update is taken back, hours later
perhaps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from harness.record import DeviceRecord, Phase, PhaseRecord


@dataclass(frozen=True)
class Act:
    """One such stretch. Times in seconds since the epoch."""

    phases: tuple[PhaseRecord, ...]
    started: float
    ended: float

    @property
    def seconds(self) -> float:
        return self.ended - self.started


def acts(device: DeviceRecord) -> tuple[Act, ...]:
    """In order; one without phases where no more than the device's start is known, none where it was never begun."""
    groups = list(_begun(device.phases))
    if not groups and device.started is not None:
        groups = [()]
    last = len(groups) - 1
    return tuple(
        _act(group, device.started if at == 0 else None, device.ended if at == last else None)
        for at, group in enumerate(groups)
    )


def seconds_spent(device: DeviceRecord) -> float | None:
    """Seconds of work on a device that has ended, without the waiting in between; None while it goes on."""
    if device.started is None or device.ended is None:
        return None
    return sum(act.seconds for act in acts(device))


def _begun(phases: tuple[PhaseRecord, ...]) -> Iterator[tuple[PhaseRecord, ...]]:
    """Taking the port's lock is the first phase whenever a device is begun."""
    starts = [at for at, phase in enumerate(phases) if at == 0 or phase.phase is Phase.LOCK]
    for start, end in pairwise([*starts, len(phases)]):
        yield phases[start:end]


def _act(phases: tuple[PhaseRecord, ...], started: float | None, ended: float | None) -> Act:
    starts = [phase.started for phase in phases] + ([] if started is None else [started])
    # Nobody knows when a phase was cut short: it counts from its start to what is known next.
    ends = [phase.ended for phase in phases if phase.ended is not None] + ([] if ended is None else [ended])
    return Act(phases, min(starts), max([*starts, *ends]))
