"""One wave: who is still to start, what its gates say, where it stands. Pure."""

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
        self.left = len(devices)
        """Devices that have not ended, and are still to."""
        self.jury = Jury(policy.gates, policy.success_threshold, len(devices))
        self.status = WaveStatus.WAITING
        self.until: float | None = None
        """When its soak ends, or its approval times out."""
        self.had_begun = False
        """Some of its devices had been started before the run was cut short."""
        self._running = 0
        self._started: float | None = None
        self._ended: float | None = None
        self._gist: tuple[object, ...] = ()
        self._state = self._build()

    # Its devices

    def start(self, device_id: str) -> None:
        self.pending.pop(device_id, None)
        self._running += 1

    def put_back(self, device_id: str) -> None:
        """It is still to start, before the others."""
        self.pending = {device_id: None, **self.pending}

    def stop(self, now: float) -> None:
        """One that was running is not any more."""
        self._running -= 1
        if self.status in (WaveStatus.FAILED, WaveStatus.HALTED) and not self._running:
            self._ended = now

    def count(self, device_id: str, result: Result) -> None:
        """It has ended, in this run or before."""
        self.pending.pop(device_id, None)
        self.left -= 1
        self.jury.add(device_id, result)

    def drop(self, device_id: str) -> None:
        """It is not run at all, and no gate counts it."""
        del self.pending[device_id]
        self.left -= 1
        self.jury.drop()

    # Where it stands

    def stay(self, before: WaveState) -> None:
        """It goes on no more than it did in the rollout that had failed."""
        self.status, self._started, self._ended = before.status, before.started, before.ended

    def open(self, now: float) -> None:
        self.status, self._started = WaveStatus.RUNNING, now

    def soak(self, now: float, seconds: float) -> None:
        """All have ended, and its gates have passed."""
        self.status, self.until, self._ended = WaveStatus.SOAKING, now + seconds, now

    def await_approval(self, now: float, timeout_s: float) -> None:
        self.status, self.until = WaveStatus.AWAITING_APPROVAL, now + timeout_s

    def passed(self) -> None:
        self.status, self.until = WaveStatus.PASSED, None

    def close(self, status: WaveStatus, now: float) -> None:
        """Nothing more of it starts. What is running still ends."""
        if self.status in (WaveStatus.SOAKING, WaveStatus.AWAITING_APPROVAL):
            self.passed()
            return
        self.status = status
        if not self._running:
            self._ended = now

    @property
    def state(self) -> WaveState:
        """Built anew only when it changed: most waves of a long rollout are as they were."""
        gist = (self.status, self._started, self._ended, self.until, self.jury.gates)
        if gist != self._gist:
            self._gist, self._state = gist, self._build()
        return self._state

    def _build(self) -> WaveState:
        return WaveState(
            number=self.number,
            devices=self.devices,
            status=self.status,
            gates=self.jury.gates,
            started=self._started,
            ended=self._ended,
            until=self.until,
        )
