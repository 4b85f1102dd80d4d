"""The rollout as a state machine: asked what may start now, told what started and how it ended. Pure.

Two things end a rollout before its devices: a gate that failed, after which boards are taken back, and a halt, after
which nothing starts. Times are whatever the caller's clock says, as long as it is one clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import count

from harness.rollout.breaker import Breakers, Circuit
from harness.rollout.course import Course
from harness.rollout.gates import Result
from harness.rollout.notes import Note, Notes, devices_words
from harness.rollout.policy import RolloutPolicy
from harness.rollout.slots import Slots
from harness.rollout.state import RolloutState, WaveStatus
from harness.rollout.wave import Wave

__all__ = ["Action", "Note", "Rollout", "Start"]


class Action(StrEnum):
    UPDATE = "update"
    RESTORE = "restore"


@dataclass(frozen=True)
class Start:
    """A device, and what is to be done to it."""

    device_id: str
    action: Action


class Rollout:
    """Who may start now, and whether it may go on."""

    def __init__(
        self,
        policy: RolloutPolicy,
        devices: Sequence[str],
        *,
        excluded: Mapping[str, str] = {},
        done: Mapping[str, Result] = {},
        restored: frozenset[str] = frozenset(),
        recover: frozenset[str] = frozenset(),
        before: RolloutState = RolloutState(),  # noqa: B008  (frozen)
    ) -> None:
        """`devices` in the batch's order. `excluded`: not to be run, each with the reason; they are in no wave.

        Of a run that is resumed: `done` had ended before, in the order of their ending; `restored` of these were taken
        back already; `recover` were being written when the run was cut short. These start first of all, whatever waves,
        gates and breakers say: a half-written board must not stay so. Only `halt` keeps them from it.
        A device that is in several of these is recovered rather than done, and done rather than excluded.
        `before` is where the rollout stood: the waves stay as they were cut, and one that a gate had failed stays
        failed, also if the device that decided it is recovered now; who is excluded now stays in its waves.

        A wave that had begun before does not soak or wait for approval again.
        """
        self._restore_wanted = policy.restore
        self._excluded = {d: why for d, why in excluded.items() if d not in done and d not in recover}
        in_waves = {device_id for wave in before.waves for device_id in wave.devices} if before.failed else set()
        chosen = [device_id for device_id in devices if device_id not in self._excluded or device_id in in_waves]
        self._notes = Notes()
        self._course = Course(policy, chosen, self._notes, before)
        self._breakers = Breakers(policy.breaker, policy.groups, self._notes)
        self._slots = Slots.within(policy.max_concurrent, policy.groups)

        self._updates = {device_id: Start(device_id, Action.UPDATE) for device_id in chosen}
        self._is_halted = False  # by `halt`; a rollout that halts itself still ends what was cut short
        self._running: dict[str, Start] = {}
        self._ended: set[str] = set()
        self._urgent: deque[Start] = deque()  # updates that were cut short: before all others
        self._untouched: set[str] = set()  # those of them that had not been written
        self._dropped: dict[str, str] = {}  # with the reason
        self._numbers = count()
        self._order: dict[str, int] = {}  # when each last started, as a number
        self._restorable: set[str] = set()
        self._restores: deque[Start] | None = None  # None until it is time
        self._restoring = before.restoring or bool(restored)
        self._resume([device_id for device_id in chosen if device_id in recover], done)
        self._restorable -= restored
        self._take_back_if_failed()

    def _resume(self, recover: Sequence[str], done: Mapping[str, Result]) -> None:
        for device_id in recover:
            wave = self._wave(device_id)
            wave.had_begun = True
            wave.pending.pop(device_id)
            self._urgent.append(self._updates[device_id])
        for device_id, result in done.items():
            if device_id in self._updates and device_id not in recover:
                self._wave(device_id).had_begun = True
                self._order[device_id] = next(self._numbers)
                self._conclude(device_id, result)

    def _wave(self, device_id: str) -> Wave:
        wave = self._course.wave_of(device_id)
        assert wave is not None
        return wave

    # What is told

    def started(self, start: Start, now: float) -> None:  # noqa: ARG002  (every event has its time)
        """Raises `ValueError` if it does not wait to be started."""
        if start.action is Action.RESTORE:
            _take(start, self._restores)
        else:
            self._start_update(start)
        self._running[start.device_id] = start
        self._slots.take(start.device_id)

    def _start_update(self, start: Start) -> None:
        wave = self._course.wave_of(start.device_id)
        if wave is None or start.device_id not in wave.pending:
            _take(start, self._urgent)
        self._untouched.discard(start.device_id)
        self._wave(start.device_id).start(start.device_id)
        self._order[start.device_id] = next(self._numbers)
        self._breakers.started(start.device_id)

    def ended(self, device_id: str, result: Result, now: float) -> None:
        """An update has. Raises `ValueError` if none of the device is going on."""
        self._release(device_id, Action.UPDATE)
        self._wave(device_id).stop(now)
        self._conclude(device_id, result)
        for circuit in self._breakers.ended(device_id, result, now):
            self._drop_rest(circuit)
        self._advance(now)

    def restore_ended(self, device_id: str, now: float) -> None:
        """However it ended. Raises `ValueError` if none of the device is going on."""
        self._release(device_id, Action.RESTORE)
        self._advance(now)

    def lost(self, device_id: str, now: float, *, is_written: bool) -> None:
        """Its worker died: it starts again, before others. Raises `ValueError` if nothing of it is going on.

        One that is not `is_written` is as it was: once the rollout is over, it stays so.
        """
        start = self._release(device_id)
        if start.action is Action.UPDATE:
            self._wave(device_id).stop(now)
            if is_written:
                self._urgent.appendleft(start)
            else:  # the half-written ones go before it
                self._urgent.append(start)
                self._untouched.add(device_id)
        elif self._restores is not None:
            self._restores.appendleft(start)
        self._advance(now)

    def halt(self, reason: str, now: float) -> None:
        """Nothing more starts, restores neither; what is running goes on. The first reason is kept."""
        if self.finished:
            return
        self._is_halted = True
        if not self._course.halted:
            self._course.halt(reason, now)

    def approve(self, now: float) -> None:
        """The next wave may start: the one that waits for it, or that will."""
        self._course.approve(now)

    def _release(self, device_id: str, action: Action | None = None) -> Start:
        start = self._running.get(device_id)
        if start is None or action not in (None, start.action):
            raise ValueError(f"no {action or 'update or restore'} of {device_id} is going on")
        del self._running[device_id]
        self._slots.give_back(device_id)
        return start

    def _conclude(self, device_id: str, result: Result) -> None:
        self._course.count(device_id, result)
        self._ended.add(device_id)
        if result.restorable:
            self._restorable.add(device_id)

    def _drop_rest(self, circuit: Circuit) -> None:
        dropped = [device_id for device_id in self._breakers.devices(circuit) if self._course.drop(device_id)]
        for device_id in dropped:
            self._dropped[device_id] = f"group {circuit.group} was given up: {circuit.reason}"
        if dropped:
            self._notes.say(f"not run, and counted by no gate: {devices_words(len(dropped))} of group {circuit.group}")

    def _advance(self, now: float) -> None:
        self._breakers.tick(now)
        self._course.advance(now)
        if self._course.is_over:
            self._leave_untouched()
        self._take_back_if_failed()

    def _leave_untouched(self) -> None:
        """Nothing was done to these: they are as if they had never started, and do not any more."""
        for device_id in self._untouched:
            self._urgent.remove(self._updates[device_id])
            self._wave(device_id).put_back(device_id)
        self._untouched.clear()

    def _take_back_if_failed(self) -> None:
        is_quiet = not self._running and not self._urgent
        if self._course.failed and not self._course.halted and is_quiet and self._restores is None:
            self._restores = deque(self._to_restore())

    def _to_restore(self) -> list[Start]:
        """Newest wave first, and of a wave the last started first."""
        if not self._restore_wanted or not self._restorable:
            return []
        self._restoring = True
        self._notes.say(f"restoring {devices_words(len(self._restorable))}, newest wave first", loud=True)
        newest = sorted(self._restorable, key=lambda d: (self._wave(d).number, self._order[d]), reverse=True)
        return [Start(device_id, Action.RESTORE) for device_id in newest]

    # What is asked

    def ready(self, now: float) -> tuple[Start, ...]:
        """Everything that may start now, in order. All of it together is within the limits."""
        self._advance(now)
        return tuple(self._startable())

    def _startable(self) -> Iterator[Start]:
        slots = self._slots.copy()
        breakers = None if self._breakers.are_closed else self._breakers
        tried: set[Circuit] = set()
        for start, heeds_breakers in self._candidates():
            if not slots.free:
                return
            circuits = breakers.of(start.device_id) if breakers else ()
            if circuits and heeds_breakers and any(circuit.holds or circuit in tried for circuit in circuits):
                continue
            if slots.take_if_free(start.device_id):
                tried.update(circuits and [circuit for circuit in circuits if circuit.is_trying])
                yield start

    def _candidates(self) -> Iterator[tuple[Start, bool]]:
        """What would start if there were room, each with whether breakers matter for it."""
        if self._is_halted:
            return
        for start in (*self._urgent, *(self._restores or ())):
            yield start, False
        wave = self._course.wave
        if wave and wave.status is WaveStatus.RUNNING:
            for device_id in wave.pending:
                yield self._updates[device_id], True

    def notes(self) -> tuple[Note, ...]:
        """What happened since the last call."""
        return self._notes.take()

    def reason(self, device_id: str) -> str:
        """Why a device has not started (yet), in words; empty if it has."""
        if (why := self._excluded.get(device_id, self._dropped.get(device_id))) is not None:
            return why
        if device_id in self._ended or device_id in self._running:
            return ""
        if device_id not in self._updates:
            return "it is not among the devices of the rollout"
        if self._updates[device_id] in self._urgent:
            return self._course.halted if self._is_halted else "it waits for its turn"
        return self._course.failed or self._course.halted or self._waits_for(device_id)

    def _waits_for(self, device_id: str) -> str:
        current = self._course.wave
        if current and device_id not in current.pending:
            words = {
                WaveStatus.SOAKING: f"it waits until wave {current.number} has soaked",
                WaveStatus.AWAITING_APPROVAL: "it waits for an approval",
            }
            return words.get(current.status, f"it waits for wave {current.number}")
        held = (f"group {c.group} is paused: {c.reason}" for c in self._breakers.of(device_id) if c.holds)
        return next(held, "it waits for its turn")

    @property
    def finished(self) -> bool:
        """Nothing is running, and nothing will ever start again. As of the last call that told the time."""
        if self._running:
            return False
        if self._is_halted:
            return True
        return self._course.is_over and not self._urgent and not self._restores

    @property
    def awaits_time(self) -> bool:
        """Nothing is running, and nothing can start before time passes: soak, approval, breaker.

        As of the last call of `ready`.
        """
        return not self.finished and not self._running and next(self._startable(), None) is None

    def state(self) -> RolloutState:
        """As of the last call that told the time. `halted` is empty if a gate failed when all had had their turn."""
        course = self._course
        has_pending = any(wave.pending for wave in course.waves)
        return RolloutState(
            waves=tuple(wave.state for wave in course.waves),
            cut=course.cut,
            gates=course.batch.gates,
            groups=self._breakers.states,
            failed=course.failed,
            halted=course.halted or (course.failed if has_pending else ""),
            restoring=self._restoring,
        )


def _take(start: Start, waiting: deque[Start] | None) -> None:
    if waiting is None or start not in waiting:
        raise ValueError(f"no {start.action} of {start.device_id} waits to be started")
    waiting.remove(start)
