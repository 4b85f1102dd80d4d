"""How a batch is rolled out, as data: part of the run's plan. Rates in percent, times in seconds."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ExitOn(StrEnum):
    """What the exit status follows."""

    GATES = "gates"
    DEVICES = "devices"


class WaveSize(_Frozen):
    """A number of devices, or a share of the batch in percent, rounded up. One of the two is given."""

    devices: int | None = None
    percent: float | None = None


class CanaryGate(_Frozen):
    """Stop a wave when its failure rate is worse than `max_failure_rate` with at least this confidence."""

    max_failure_rate: float
    confidence: float


class Gates(_Frozen):
    """What must hold of each wave and of the batch; None: not asked for."""

    min_success_rate: float | None = None
    max_failure_rate: float | None = None
    require_verification: bool = False
    max_flash_time: float | None = None
    min_flash_time: float | None = None
    max_verification_time: float | None = None
    canary: CanaryGate | None = None


class Group(_Frozen):
    """Devices that share something that limits them (a hub's power, a host): so many of them at once."""

    name: str
    max_concurrent: int | None = Field(ge=1)
    devices: tuple[str, ...]


class Breaker(_Frozen):
    """So many failures of one kind in a row pause a group; then one device is tried; its failure gives the group up."""

    failures: int = Field(ge=1)
    pause_s: float


class RolloutPolicy(_Frozen):
    """How a batch is rolled out."""

    max_concurrent: int = Field(ge=1)
    waves: tuple[WaveSize, ...] = ()
    """Sizes of the waves in order, the last one repeated until all devices are in one. Empty: one wave of all."""
    success_threshold: float | None = None
    """What a wave must reach before the next one may start; None where there is one wave only."""
    soak_s: float = 0.0
    """Pause between a wave that passed and the next."""
    approve: bool = False
    """Each further wave waits for a person."""
    approval_timeout_s: float = 3600.0
    gates: Gates = Gates()
    stop_early: bool = False
    """Halt as soon as a gate is certain to fail; else a failed gate is found at the end of its wave."""
    restore: bool = True
    """A failed gate takes back what this run has updated."""
    groups: tuple[Group, ...] = ()
    breaker: Breaker | None = None
    exit_on: ExitOn = ExitOn.GATES
