"""A run in numbers. Pure; every report takes its figures from here, so that no two of them differ.

success = updated + unchanged; failure = rolled-back + untouched + emergency; a device that did not run is neither, and
one that was restored did not fail, but counts against the success rate: a fleet that was taken back is no success.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from drivers.base import Category
from harness.record import DeviceRecord, Outcome, Phase, PhaseOutcome, PhaseRecord, RunRecord


@dataclass(frozen=True)
class FlashTimes:
    """Seconds in the flash phase, over the devices that were updated, be they restored later; None where none was."""

    average_s: float | None = None
    fastest_s: float | None = None
    slowest_s: float | None = None
    rate: float | None = None  # bytes a second, over all of them


@dataclass(frozen=True)
class Figures:
    """The run's counts, rates and times. `errors` counts each failed device once, by the category it failed with."""

    total: int
    outcomes: Mapping[Outcome, int]
    retried: int
    total_s: float
    flash: FlashTimes
    errors: Mapping[Category, int]

    def count(self, outcome: Outcome) -> int:
        return self.outcomes.get(outcome, 0)

    @property
    def success(self) -> int:
        return sum(self.count(outcome) for outcome in Outcome if outcome.succeeded)

    @property
    def failure(self) -> int:
        return sum(self.count(outcome) for outcome in Outcome if outcome.failed)

    @property
    def restored(self) -> int:
        return self.count(Outcome.RESTORED)

    @property
    def skipped(self) -> int:
        return self.count(Outcome.NOT_RUN)

    @property
    def ran(self) -> int:
        """Devices that ran to an end."""
        return self.success + self.failure + self.restored

    @property
    def success_rate(self) -> float:
        """Percent of them; 0 where there are none."""
        return 100.0 * self.success / self.ran if self.ran else 0.0


def figures(run: RunRecord) -> Figures:
    return Figures(
        total=len(run.devices),
        outcomes=Counter(device.outcome for device in run.devices),
        retried=sum(len(device.attempts) > 1 for device in run.devices),
        total_s=_total_seconds(run),
        flash=_flash_times(run.with_outcome(Outcome.UPDATED, Outcome.RESTORED)),
        errors=Counter(_category(device) for device in run.devices if device.outcome.failed),
    )


def not_run(run: RunRecord) -> Mapping[str, tuple[DeviceRecord, ...]]:
    """The devices that did not run, by the reason: a rollout that is halted leaves hundreds behind for the same one."""
    found: dict[str, tuple[DeviceRecord, ...]] = {}
    for device in run.with_outcome(Outcome.NOT_RUN):
        reason = device.reason or "did not run"
        found[reason] = (*found.get(reason, ()), device)
    return found


def rate(phase: PhaseRecord) -> float | None:
    """Bytes a second of a phase that moved any; None where it did not, or took no time that could be measured."""
    size = phase.figures.get("bytes")
    return size / phase.seconds if size and phase.seconds else None


def _total_seconds(run: RunRecord) -> float:
    if run.ended is not None:
        return run.ended - run.started
    return max((device.ended - run.started for device in run.devices if device.ended is not None), default=0.0)


def _flash_times(devices: tuple[DeviceRecord, ...]) -> FlashTimes:
    times = [seconds for device in devices if (seconds := device.phase_seconds(Phase.FLASH)) is not None]
    if not times:
        return FlashTimes()
    return FlashTimes(sum(times) / len(times), min(times), max(times), _flash_rate(devices))


def _flash_rate(devices: tuple[DeviceRecord, ...]) -> float | None:
    written = [
        (phase.figures["bytes"], phase.seconds)
        for device in devices
        for phase in device.phases
        if phase.phase is Phase.FLASH and phase.outcome is PhaseOutcome.PASSED
        if phase.seconds and "bytes" in phase.figures
    ]
    seconds = sum(spent for _, spent in written)
    return sum(size for size, _ in written) / seconds if seconds else None


def _category(device: DeviceRecord) -> Category:
    return device.error.category if device.error else Category.OTHER
