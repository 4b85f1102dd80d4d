"""`report.json`: the run for other programs. Times in seconds, moments in seconds since the epoch; docs/reports.md."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drivers.base import Category
from harness.record import Attempt, DeviceRecord, ErrorRecord, Outcome, PhaseRecord, RunRecord
from harness.report.acts import seconds_spent
from harness.report.figures import figures, rate
from harness.report.files import write_text
from harness.report.firmware import Share, shares
from harness.report.rollout import update_of
from harness.report.words import state, what_to_do
from harness.rollout.state import RolloutState, WaveState

SCHEMA_VERSION = 1
"""Raised when a key changes its meaning or goes away; new keys do not raise it."""


def write(record: RunRecord, path: Path) -> None:
    """Raises `OSError`; what was at `path` before is then still there."""
    write_text(path, json.dumps(as_json(record), indent=1) + "\n")


def as_json(run: RunRecord) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "batch_id": run.run_id,
        "name": run.batch_name,
        "description": run.description,
        "batch_file": run.batch_file,
        "version": run.version,
        "strategy": run.strategy,
        "simulated": run.simulated,
        "rehearsal": run.rehearsal,
        "interrupted": run.interrupted or None,
        "started": run.started,
        "ended": run.ended,
        "summary": _summary(run),
        "statistics": _statistics(run),
        **_rollout(run),
        "devices": [_device(device, run.rollout) for device in run.devices],
        "emergencies": [_emergency(run, device) for device in run.emergencies],
    }


def _summary(run: RunRecord) -> dict[str, Any]:
    counts = figures(run)
    return {
        "total_count": counts.total,
        "success_count": counts.success,
        "failure_count": counts.failure,
        "success_rate": round(counts.success_rate, 2),
        "total_time": _seconds(counts.total_s),
        "skipped_count": counts.skipped,
        "unchanged_count": counts.count(Outcome.UNCHANGED),
        "rolled_back_count": counts.count(Outcome.ROLLED_BACK),
        "restored_count": counts.restored,
        "emergency_count": counts.count(Outcome.EMERGENCY),
        "retried_count": counts.retried,
        "firmware": [_share(share) for share in shares(run)],
    }


def _share(share: Share) -> dict[str, Any]:
    return {
        "version": share.version,
        "certainty": str(share.certainty),
        "count": share.count,
        "outcomes": {str(outcome): count for outcome, count in share.outcomes.items()},
    }


def _statistics(run: RunRecord) -> dict[str, Any]:
    counts = figures(run)
    return {
        "average_flash_time": _seconds(counts.flash.average_s),
        "fastest_flash": _seconds(counts.flash.fastest_s),
        "slowest_flash": _seconds(counts.flash.slowest_s),
        "flash_bytes_per_second": _seconds(counts.flash.rate),
        "error_categories": {str(category): counts.errors.get(category, 0) for category in Category},
    }


def _rollout(run: RunRecord) -> dict[str, Any]:
    rollout = run.rollout
    updates = {device.device_id: update_of(device) for device in run.devices}
    return {
        "failed": rollout.failed or None,
        "halted": rollout.halted or None,
        "restoring": rollout.restoring,
        "waves": [_wave(wave, updates) for wave in rollout.waves],
        "gates": [gate.model_dump(mode="json") for gate in rollout.gates],
        "groups": [group.model_dump(mode="json") for group in rollout.groups],
        "notes": [vars(note) for note in run.notes],
    }


def _wave(wave: WaveState, updates: Mapping[str, Outcome]) -> dict[str, Any]:
    ended = [updates[device_id] for device_id in wave.devices if device_id in updates]
    return {
        **wave.model_dump(mode="json"),
        "success_count": sum(outcome.succeeded for outcome in ended),
        "failure_count": sum(outcome.failed for outcome in ended),
    }


def _device(device: DeviceRecord, rollout: RolloutState) -> dict[str, Any]:
    return {
        "device_id": device.device_id,
        "device_type": device.device_type,
        "port": device.port,
        "wave": rollout.wave_of(device.device_id),
        "outcome": str(device.outcome),
        "update_outcome": str(update_of(device)),
        "state": state(device),
        "reason": device.reason or None,
        "identity": vars(device.identity) if device.identity else None,
        "version_wanted": device.wanted_version,
        "version_before": device.version_before,
        "version_after": device.version_after,
        "started": device.started,
        "ended": device.ended,
        "time": _seconds(seconds_spent(device)),
        "worker": device.worker or None,
        "attempts": [_attempt(attempt) for attempt in device.attempts],
        "phases": [_phase(phase) for phase in device.phases],
        "error": _error(device.error),
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "baud": attempt.baud,
        "started": attempt.started,
        "error": _error(attempt.error),
        "wait": attempt.wait_s,
    }


def _phase(phase: PhaseRecord) -> dict[str, Any]:
    return {
        "phase": str(phase.phase),
        "attempt": phase.attempt,
        "outcome": str(phase.outcome),
        "started": phase.started,
        "time": _seconds(phase.seconds),
        "detail": phase.detail or None,
        "figures": dict(phase.figures),
        "bytes_per_second": _seconds(rate(phase)),
        "error": _error(phase.error),
    }


def _emergency(run: RunRecord, device: DeviceRecord) -> dict[str, Any]:
    return {
        "device_id": device.device_id,
        "port": device.port,
        "reason": device.reason,
        "advice": what_to_do(run, device),
    }


def _error(error: ErrorRecord | None) -> dict[str, Any] | None:
    return error.as_json() if error else None


def _seconds(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
