"""Drives a rollout as the scheduler does: so many workers, each of which takes what may start first."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from harness.rollout.gates import Result
from harness.rollout.policy import RolloutPolicy
from harness.rollout.waves import Action, Rollout, Start

UPDATED = Result(succeeded=True, restorable=True, flash_s=10.0, verify_s=1.0)
FAILED = Result(succeeded=False, error_kind="flash")


def names(count: int) -> list[str]:
    return [f"d{number}" for number in range(count)]


class Fleet:
    """Boards that end in the order in which they started, after a second of the fleet's own time each."""

    def __init__(
        self, policy: RolloutPolicy, devices: Iterable[str], fate: Callable[[str], Result] = lambda _: UPDATED,
        workers: int = 8, **resumed,
    ) -> None:  # fmt: skip
        self.rollout = Rollout(policy, list(devices), **resumed)
        self.fate = fate
        self.workers = workers
        self.now = 0.0
        self.running: deque[Start] = deque()
        self.started: list[Start] = []

    def start(self) -> list[str]:
        """As many as there are workers for; the devices that started."""
        begun = []
        while len(self.running) < self.workers and (ready := self.rollout.ready(self.now)):
            self.rollout.started(ready[0], self.now)
            self.running.append(ready[0])
            begun.append(ready[0])
        self.started += begun
        return [start.device_id for start in begun]

    def end(self) -> None:
        """The first that is running."""
        self.now += 1
        start = self.running.popleft()
        if start.action is Action.UPDATE:
            self.rollout.ended(start.device_id, self.fate(start.device_id), self.now)
        else:
            self.rollout.restore_ended(start.device_id, self.now)

    def step(self) -> None:
        self.start()
        if self.running:
            self.end()

    def work(self) -> None:
        """Until nothing more can be done without time passing, or at all."""
        self.start()
        while self.running:
            self.end()
            self.start()

    def finish(self) -> None:
        self.work()
        for _ in range(1000):
            if self.rollout.finished:
                return
            assert self.rollout.awaits_time
            self.now += 10
            self.work()
        raise AssertionError("the rollout waits for ever")

    def updates(self) -> list[str]:
        return [start.device_id for start in self.started if start.action is Action.UPDATE]

    def restores(self) -> list[str]:
        return [start.device_id for start in self.started if start.action is Action.RESTORE]

    def notes(self) -> list[str]:
        return [note.text for note in self.rollout.notes()]


def failing(*device_ids: str, result: Result = FAILED) -> Callable[[str], Result]:
    return lambda device_id: result if device_id in device_ids else UPDATED
