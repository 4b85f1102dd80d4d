"""What has become of a rollout, as data: told to the run's journal, and read by every report. Times since the epoch."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Verdict(StrEnum):
    """Of a gate. `OPEN`: not certain yet, or never decided because devices did not run."""

    PASSED = "passed"
    FAILED = "failed"
    OPEN = "open"


class Unit(StrEnum):
    """What a gate's figure and limit are counted in."""

    PERCENT = "percent"
    SECONDS = "seconds"
    DEVICES = "devices"


class GateState(_Frozen):
    """One gate over one wave, or over the batch. `figure` is None while there is nothing to measure."""

    name: str  # as in the batch file: min_success_rate, max_flash_time, …
    verdict: Verdict
    figure: float | None
    limit: float
    unit: Unit
    detail: str = ""
    """The figure in words: `7 of 10 devices, 3 failed`; `slowest: ESP32_004`."""


class WaveStatus(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    SOAKING = "soaking"  # passed; the pause before the next wave
    AWAITING_APPROVAL = "awaiting-approval"  # passed; a person must say that the next wave may start
    PASSED = "passed"
    FAILED = "failed"
    HALTED = "halted"  # cut short by what was no gate of its own


class WaveState(_Frozen):
    """One wave. `until` is when its soak ends, or its approval times out."""

    number: int  # from 1
    devices: tuple[str, ...]
    status: WaveStatus = WaveStatus.WAITING
    gates: tuple[GateState, ...] = ()
    started: float | None = None
    ended: float | None = None
    until: float | None = None


class GroupStatus(StrEnum):
    PAUSED = "paused"
    TRYING = "trying"  # one device is let through
    GIVEN_UP = "given-up"


class GroupState(_Frozen):
    """A group whose breaker has tripped. `until` is when a device is tried again."""

    name: str
    status: GroupStatus
    reason: str
    until: float | None = None


class RolloutState(_Frozen):
    """A rollout at one moment. `halted` says in words why nothing more is started, empty while it goes on."""

    waves: tuple[WaveState, ...] = ()
    cut: tuple[tuple[str, ...], ...] = ()
    """The devices of the waves as they were first cut; empty where that is what `waves` says."""
    gates: tuple[GateState, ...] = ()
    """Over the whole batch."""
    groups: tuple[GroupState, ...] = ()
    failed: str = ""
    """The gate that ended it, in words. It stays so when the run is resumed, whatever becomes of the device."""
    halted: str = ""
    restoring: bool = False
    """Boards that were updated are being put back, or have been."""

    @property
    def verdict(self) -> Verdict:
        """Of all gates together: the worst of them, those of the waves included."""
        if self.failed:
            return Verdict.FAILED
        verdicts = {gate.verdict for gate in self.all_gates}
        for verdict in (Verdict.FAILED, Verdict.OPEN):
            if verdict in verdicts:
                return verdict
        return Verdict.PASSED

    @property
    def all_gates(self) -> tuple[GateState, ...]:
        return (*(gate for wave in self.waves for gate in wave.gates), *self.gates)

    @property
    def as_cut(self) -> tuple[tuple[str, ...], ...]:
        """The devices of the waves as they were first cut."""
        return self.cut or tuple(wave.devices for wave in self.waves)

    def wave_of(self, device_id: str) -> int | None:
        """The number of a device's wave."""
        return next((wave.number for wave in self.waves if device_id in wave.devices), None)
