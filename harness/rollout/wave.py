"""One wave while it goes on: who is still to start, what its gates say, where it stands. Pure."""

from __future__ import annotations

from harness.rollout.gates import Jury
from harness.rollout.policy import RolloutPolicy
from harness.rollout.state import WaveState, WaveStatus
from harness.rollout.tally import Result


class Wave:
    """`number` from 1. `pending`: the devices that have not started, in order (a dict, for quick removal)."""

    def __init__(self, number: int, devices: tuple[str, ...], policy: RolloutPolicy) -> None:
        self.number = number
        self.devices = devices
        self.pending = dict.fromkeys(devices)
        self.jury = Jury(policy.gates, policy.success_threshold, len(devices))
        self.status = WaveStatus.WAITING
        self.until: float | None = None
        self.had_begun = False
        """Some of its devices had been started before the run was cut short."""
        self._left = len(devices)
        self._running = 0
        self._started: float | None = None
        self._ended: float | None = None
        self._known = WaveState(number=number, devices=devices, gates=self.jury.gates)

    @property
    def left(self) -> int:
        """Devices that have not ended, and are still to."""
        return self._left

    def open(self, now: float) -> None:
        self.status, self._started = WaveStatus.RUNNING, now

    def close(self, status: WaveStatus, now: float) -> None:
        """Nothing more of it starts. What runs still ends."""
        self.status, self.until = status, None
        if not self._running and self._ended is None:
            self._ended = now

    def passed(self, status: WaveStatus, now: float) -> None:
        self.status, self._ended = status, now

    def start(self, device_id: str) -> None:
        self.pending.pop(device_id, None)
        self._running += 1

    def lose(self) -> None:
        self._running -= 1

    def end(self, device_id: str, result: Result, now: float) -> None:
        self._running -= 1
        self.count(device_id, result)
        if self.status in (WaveStatus.FAILED, WaveStatus.HALTED) and not self._running:
            self._ended = now

    def count(self, device_id: str, result: Result) -> None:
        self.pending.pop(device_id, None)
        self._left -= 1
        self.jury.add(device_id, result)

    def drop(self, device_id: str) -> None:
        """It is not run at all, and no gate counts it."""
        del self.pending[device_id]
        self._left -= 1
        self.jury.drop()

    @property
    def state(self) -> WaveState:
        if self._gist != _gist(self._known):  # most waves of a long rollout are as they were
            self._known = WaveState(
                number=self.number,
                devices=self.devices,
                status=self.status,
                gates=self.jury.gates,
                started=self._started,
                ended=self._ended,
                until=self.until,
            )
        return self._known

    @property
    def _gist(self) -> tuple[object, ...]:
        return self.status, self._started, self._ended, self.until, self.jury.gates


def _gist(state: WaveState) -> tuple[object, ...]:
    return state.status, state.started, state.ended, state.until, state.gates
