"""Rollouts as runs tell them: forty boards in waves of 1, 5, 10 and 24, of which the third fails its gate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from drivers.base import Category
from harness.record import DeviceRecord, ErrorRecord, Phase, RunNote, RunRecord
from harness.rollout.state import GateState, RolloutState, Unit, Verdict, WaveState, WaveStatus
from tests.harness.builders import EPOCH, not_run, restored, rolled_back, run_of, updated

IDS = tuple(f"ESP32_{n:03}" for n in range(1, 41))
WAVES = (IDS[:1], IDS[1:6], IDS[6:16], IDS[16:])
FAILED = ("ESP32_009", "ESP32_011")
RESTORED = (*IDS[:8], "ESP32_010", "ESP32_012")
WHY = "wave 3 failed: success_threshold: 66.67 %, at least 90 % wanted (4 of 6 devices, 2 failed, 4 not ended)"
_SOAK_S = 600.0
_BROKEN = ErrorRecord(
    Category.VERIFICATION,
    "BootFailed",
    "the new firmware was not seen to start: Guru Meditation Error: Core 0 panic'ed (LoadProhibited)",
    "The firmware does not boot on this board: look at its console output.",
    Phase.BOOT,
)


def rate(verdict: Verdict, succeeded: int, of: int, name: str = "success_threshold", limit: float = 90) -> GateState:
    detail = f"{succeeded} of {of} devices" + (f", {of - succeeded} failed" if succeeded < of else "")
    figure = 100 * succeeded / of if of else None
    told = detail if of else "no device that counts has ended"
    return GateState(name=name, verdict=verdict, figure=figure, limit=limit, unit=Unit.PERCENT, detail=told)


def flash_time(verdict: Verdict = Verdict.PASSED, figure: float | None = 12.3) -> GateState:
    return GateState(
        name="max_flash_time", verdict=verdict, figure=figure, limit=60, unit=Unit.SECONDS, detail="slowest: ESP32_004"
    )


def wave(number: int, status: WaveStatus, start_s: float | None = None, *gates: GateState) -> WaveState:
    started = None if start_s is None else EPOCH + start_s
    ended = None if started is None else started + 45.0
    return WaveState(number=number, devices=WAVES[number - 1], status=status, gates=gates, started=started, ended=ended)


def halted_state() -> RolloutState:
    return RolloutState(
        waves=(
            wave(1, WaveStatus.PASSED, 0.0, rate(Verdict.PASSED, 1, 1), flash_time()),
            wave(2, WaveStatus.PASSED, _SOAK_S + 45, rate(Verdict.PASSED, 5, 5), flash_time()),
            wave(3, WaveStatus.FAILED, 2 * _SOAK_S + 90, rate(Verdict.FAILED, 4, 6), flash_time()),
            wave(4, WaveStatus.WAITING, None, rate(Verdict.OPEN, 0, 0), flash_time(Verdict.OPEN, None)),
        ),
        gates=(flash_time(), rate(Verdict.OPEN, 10, 12, "min_success_rate", 80)),
        halted=WHY,
        restoring=True,
    )


def halted_rollout(folder: Path) -> RunRecord:
    """Ten boards were updated and taken back, two failed, and the rest of the fleet never ran."""
    return run_of(
        [_device(folder, name) for name in IDS],
        strategy="gradual",
        rollout=halted_state(),
        notes=(
            RunNote(EPOCH, "wave 1 of 4 starts: 1 device"),
            RunNote(EPOCH + 45, "wave 1 passed: 1 of 1 device"),
            RunNote(EPOCH + 45, "wave 2 starts in 600 s at the earliest"),
            RunNote(EPOCH + 645, "wave 2 of 4 starts: 5 devices"),
            RunNote(EPOCH + 690, "wave 2 passed: 5 of 5 devices"),
            RunNote(EPOCH + 690, "wave 3 starts in 600 s at the earliest"),
            RunNote(EPOCH + 1290, "wave 3 of 4 starts: 10 devices"),
            RunNote(EPOCH + 1335, WHY, loud=True),
            RunNote(EPOCH + 1335, "restoring 10 devices, newest wave first", loud=True),
        ),
    )


def _device(folder: Path, device_id: str) -> DeviceRecord:
    number = next(at for at, ids in enumerate(WAVES) if device_id in ids)
    start = EPOCH + number * (_SOAK_S + 45)
    if device_id in FAILED:
        return rolled_back(folder, device_id, _BROKEN, now=start).record()
    if device_id in RESTORED:
        return restored(folder, device_id, now=start, pause_s=1350 - number * 645).record()
    return replace(not_run(device_id, WHY), port=f"/dev/ttyUSB{int(device_id[-3:])}")


def passed_rollout(folder: Path) -> RunRecord:
    """Six boards in two waves, one of which failed as the gates allow."""
    devices = [updated(folder, name).record() for name in IDS[:5]] + [rolled_back(folder, IDS[5]).record()]
    return run_of(
        devices,
        rollout=RolloutState(
            waves=(
                wave(1, WaveStatus.PASSED, 0.0, rate(Verdict.PASSED, 1, 1, limit=80)),
                wave(2, WaveStatus.PASSED, 50.0, rate(Verdict.PASSED, 4, 5, limit=80)),
            )
        ),
    )
