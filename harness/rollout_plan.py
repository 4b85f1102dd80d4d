"""From the files' models to the policy that a rollout follows. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

from harness.batch import Batch, Strategy, Target
from harness.config import Site
from harness.merge import concurrency, setting
from harness.rollout.policy import Breaker, CanaryGate, Gates, Group, RolloutPolicy, WaveSize
from harness.rollout_settings import GroupSettings

BATCH_SIZE = 5
SUCCESS_THRESHOLD = 90.0
APPROVAL_TIMEOUT_S = 3600.0


def policy(batch: Batch, site: Site) -> RolloutPolicy:
    """What the batch and the site ask for together."""
    gradual = batch.strategy is Strategy.GRADUAL
    rollback = setting(batch, site, "rollback_settings", "rollback_on_failure")
    return RolloutPolicy(
        max_concurrent=concurrency(batch, site),
        waves=tuple(_wave_size(entry) for entry in batch.waves or (str(batch.batch_size or BATCH_SIZE),))
        if gradual
        else (),
        success_threshold=_or_else(batch.success_threshold, SUCCESS_THRESHOLD) if gradual else None,
        soak_s=batch.soak or 0.0,
        approve=bool(batch.approve),
        approval_timeout_s=_or_else(batch.approval_timeout, APPROVAL_TIMEOUT_S),
        gates=_gates(batch, site),
        stop_early=setting(batch, site, "quality_gates", "stop_on_failure_threshold"),
        restore=rollback and setting(batch, site, "rollback_settings", "restore_on_failed_gate"),
        groups=_groups(batch, site),
        breaker=_breaker(batch, site),
        exit_on=setting(batch, site, "exit_on"),
    )


def _or_else(said: float | None, otherwise: float) -> float:
    return otherwise if said is None else said


def _wave_size(entry: str) -> WaveSize:
    if entry.endswith("%"):
        return WaveSize(percent=float(entry[:-1]))
    return WaveSize(devices=int(entry))


def _gates(batch: Batch, site: Site) -> Gates:
    canary = setting(batch, site, "quality_gates", "canary")
    return Gates(
        min_success_rate=setting(batch, site, "quality_gates", "min_success_rate"),
        max_failure_rate=setting(batch, site, "quality_gates", "max_failure_rate"),
        require_verification=setting(batch, site, "quality_gates", "require_verification"),
        max_flash_time=setting(batch, site, "performance_thresholds", "max_flash_time"),
        min_flash_time=setting(batch, site, "performance_thresholds", "min_flash_time"),
        max_verification_time=setting(batch, site, "performance_thresholds", "max_verification_time"),
        canary=CanaryGate(max_failure_rate=canary.max_failure_rate, confidence=canary.confidence) if canary else None,
    )


def groups_of(batch: Batch, site: Site) -> dict[str, GroupSettings]:
    """The groups of both files, by name."""
    return {**site.groups, **batch.groups}


def _groups(batch: Batch, site: Site) -> tuple[Group, ...]:
    """Those that have a device in the batch, and one for each host with more devices than it may have connections."""
    found = [
        Group(
            name=name,
            max_concurrent=group.max_concurrent,
            devices=tuple(target.device_id for target in batch.targets if _belongs(target, name, group)),
        )
        for name, group in groups_of(batch, site).items()
    ]
    return tuple(group for group in (*found, *_hosts(batch, site)) if group.devices)


def _hosts(batch: Batch, site: Site) -> Iterator[Group]:
    limit = site.performance.max_connections_per_host
    by_host: dict[str, list[str]] = {}
    for target in batch.targets:
        if target.connection_info.host is not None:
            by_host.setdefault(target.connection_info.host.lower(), []).append(target.device_id)
    for host, devices in by_host.items():
        if len(devices) > limit:
            yield Group(name=f"host {host}", max_concurrent=limit, devices=tuple(devices))


def _belongs(target: Target, name: str, group: GroupSettings) -> bool:
    """By the port as the batch names it, so that a rehearsal on virtual boards keeps to the groups of the real ones."""
    said = target.connection_info
    places = [str(place) for place in (said.port, said.host, said.mount_point, said.usb) if place is not None]
    return name in target.groups or any(fnmatchcase(place, pattern) for pattern in group.ports for place in places)


def _breaker(batch: Batch, site: Site) -> Breaker | None:
    if not setting(batch, site, "error_handling", "circuit_breaker"):
        return None
    return Breaker(
        failures=setting(batch, site, "error_handling", "breaker_failures"),
        pause_s=setting(batch, site, "error_handling", "breaker_pause"),
    )
