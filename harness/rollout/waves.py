"""The rollout as a state machine: asked what may start now, told what started and how it ended. Pure.

Waves go WAITING → RUNNING → SOAKING → AWAITING_APPROVAL → PASSED, or end FAILED (a gate of their own) or HALTED
(anything else). Two things end a rollout before its devices: a gate that failed, after which boards are taken back, and
a halt, after which nothing starts. Times are whatever the caller's clock says; they only have to be of one clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from harness.rollout.breaker import Circuit, circuits
from harness.rollout.gates import Jury, Result
from harness.rollout.notes import Note, Notes, devices, gate_words
from harness.rollout.policy import RolloutPolicy
from harness.rollout.sizes import split
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
    ) -> None:
        """`devices` in the batch's order. `excluded`: not to be run, each with the reason; they are in no wave.

        Of a run that is resumed: `done` had ended before, in the order of their ending; `restored` of these were taken
        back already; `recover` were being written when the run was cut short. These start first of all, whatever waves,
        gates, breakers and a failed gate say: a half-written board must not stay so. Only `halt` keeps them from it.
        A device that is in several of these is recovered rather than done, and done rather than excluded.

        A wave that had begun before does not soak or wait for approval again.
        """
        self._policy = policy
        self._notes = Notes()
        recovered = [device_id for device_id in devices if device_id in recover]
        chosen = [d for d in devices if d not in excluded or d in done or d in recover]
        self._excluded = {d: excluded[d] for d in devices if d in excluded and d not in done and d not in recover}
        self._waves = [Wave(at, part, policy) for at, part in enumerate(split(chosen, policy.waves), start=1)]
        self._wave_of = {device_id: wave for wave in self._waves for device_id in wave.devices}
        self._batch = Jury(policy.gates, None, len(chosen))
        self._slots = Slots.within(policy.max_concurrent, policy.groups)
        self._circuits = circuits(policy.breaker, policy.groups, self._notes)

        self._current = 0  # index of the wave that goes on, or is next
        self._urgent = deque(recovered)  # updates that were cut short: before all others
        self._running: dict[str, Action] = {}
        self._ended: set[str] = set()
        self._dropped: dict[str, str] = {}  # with the reason
        self._starts: dict[str, int] = {}  # when each last started, as a number
        self._restorable: set[str] = set()
        self._restores: deque[str] | None = None  # None until it is time
        self._restoring = bool(restored)
        self._failed = ""  # the gate that failed, in words
        self._halted = ""
        self._approved = False
        self._resume({d: result for d, result in done.items() if d in self._wave_of and d not in recover}, restored)

    def _resume(self, done: Mapping[str, Result], restored: frozenset[str]) -> None:
        for device_id in self._urgent:
            self._wave_of[device_id].had_begun = True
            self._wave_of[device_id].pending.pop(device_id)
        for device_id, result in done.items():
            wave = self._wave_of[device_id]
            wave.had_begun = True
            wave.count(device_id, result)
            self._starts[device_id] = len(self._starts)
            self._conclude(device_id, result)
        self._restorable -= restored

    def _conclude(self, device_id: str, result: Result) -> None:
        self._batch.add(device_id, result)
        self._ended.add(device_id)
        if result.restorable:
            self._restorable.add(device_id)

    # What is told

    def started(self, start: Start, now: float) -> None:  # noqa: ARG002  (the contract's: every event has its time)
        """Raises `ValueError` for what was not to be started."""
        device_id = start.device_id
        if start.action is Action.RESTORE:
            self._start_restore(device_id)
        else:
            self._start_update(device_id)
        self._running[device_id] = start.action
        self._slots.take(device_id)

    def _start_update(self, device_id: str) -> None:
        wave = self._wave_of.get(device_id)
        if device_id in self._urgent:
            self._urgent.remove(device_id)
        elif wave is None or device_id not in wave.pending:
            raise ValueError(f"{device_id} is not waiting for its update")
        self._wave_of[device_id].start(device_id)
        self._starts[device_id] = len(self._starts)
        for circuit in self._circuits.get(device_id, ()):
            circuit.started(device_id)

    def _start_restore(self, device_id: str) -> None:
        if device_id not in (self._restores or ()):
            raise ValueError(f"{device_id} is not waiting to be restored")
        assert self._restores is not None
        self._restores.remove(device_id)

    def ended(self, device_id: str, result: Result, now: float) -> None:
        """An update has. Raises `ValueError` if none is going on."""
        self._release(device_id, Action.UPDATE)
        self._wave_of[device_id].end(device_id, result, now)
        self._conclude(device_id, result)
        for circuit in self._circuits.get(device_id, ()):
            circuit.ended(device_id, result, now)
            if circuit.is_given_up:
                self._drop(circuit)
        self._advance(now)

    def restore_ended(self, device_id: str, now: float) -> None:
        """However it ended. Raises `ValueError` if none is going on."""
        self._release(device_id, Action.RESTORE)
        self._advance(now)

    def _release(self, device_id: str, action: Action) -> None:
        if self._running.get(device_id) is not action:
            raise ValueError(f"no {action} of {device_id} is going on")
        del self._running[device_id]
        self._slots.give_back(device_id)

    def lost(self, device_id: str, now: float) -> None:
        """Its worker died: it starts again, before others. Raises `ValueError` if nothing of it is going on."""
        action = self._running.get(device_id, Action.UPDATE)
        self._release(device_id, action)
        if action is Action.UPDATE:
            self._wave_of[device_id].lose()
            self._urgent.appendleft(device_id)
        elif self._restores is not None:
            self._restores.appendleft(device_id)
        self._advance(now)

    def halt(self, reason: str, now: float) -> None:
        """Nothing more starts, restores neither; what is running goes on. The first reason is kept."""
        self._advance(now)
        if not self._halted and not self.finished:
            self._stop(reason, now)

    def approve(self, now: float) -> None:
        """The wave that waits for it; or the next one that will."""
        self._advance(now)
        if self._policy.approve and not self._is_over:
            self._approved = True
            self._advance(now)
        else:
            self._notes.say("the approval changes nothing: no wave waits for one")

    # What is asked

    def ready(self, now: float) -> tuple[Start, ...]:
        """Everything that may start now, in order. All of it together is within the limits."""
        self._advance(now)
        return tuple(self._startable())

    def _startable(self) -> Iterator[Start]:
        slots, tried = self._slots.copy(), set[Circuit]()
        for start, is_free in self._candidates():
            if not slots.free:
                return
            if slots.has_room(start.device_id) and (is_free or self._circuits_let(start.device_id, tried)):
                slots.take(start.device_id)
                tried.update(circuit for circuit in self._circuits.get(start.device_id, ()) if circuit.is_trying)
                yield start

    def _candidates(self) -> Iterator[tuple[Start, bool]]:
        """What would start if there were room, and whether breakers do not matter for it."""
        if self._halted:
            return
        for device_id in self._urgent:
            yield Start(device_id, Action.UPDATE), True
        for device_id in self._restores or ():
            yield Start(device_id, Action.RESTORE), True
        wave = self._wave
        if wave and wave.status is WaveStatus.RUNNING and not self._failed:
            for device_id in wave.pending:
                yield Start(device_id, Action.UPDATE), False

    def _circuits_let(self, device_id: str, tried: set[Circuit]) -> bool:
        return not any(circuit.holds or circuit in tried for circuit in self._circuits.get(device_id, ()))

    def notes(self) -> tuple[Note, ...]:
        """What happened since the last call."""
        return self._notes.take()

    def reason(self, device_id: str) -> str:
        """Why a device has not started (yet), in words; empty if it has."""
        if device_id in self._excluded:
            return self._excluded[device_id]
        if device_id in self._dropped:
            return self._dropped[device_id]
        if device_id in self._ended or device_id in self._running:
            return ""
        wave = self._wave_of.get(device_id)
        if wave is None:
            return "it is not among the devices of the rollout"
        return self._failed or self._halted or self._waits_for(device_id, wave)

    def _waits_for(self, device_id: str, wave: Wave) -> str:
        if device_id not in self._urgent:
            if wave is not self._wave:
                return f"it waits for wave {self._waves[self._current].number}"
            for circuit in self._circuits.get(device_id, ()):
                if circuit.holds:
                    return f"group {circuit.group} is paused: {circuit.reason}"
        return "it waits for its turn"

    @property
    def finished(self) -> bool:
        """Nothing is running, and nothing will ever start again. As of the last call that told the time."""
        if self._running:
            return False
        if self._halted:
            return True
        return self._is_over and not self._urgent and not self._restores

    @property
    def awaits_time(self) -> bool:
        """Nothing is running, and nothing can start before time passes: soak, approval, breaker.

        As of the last call that told the time.
        """
        if self.finished or self._running or (self._wave and self._wave.status is WaveStatus.WAITING):
            return False
        return next(self._startable(), None) is None

    def state(self) -> RolloutState:
        """As of the last call that told the time. `halted` stays empty if every device had its turn."""
        known = {circuit.group: circuit for found in self._circuits.values() for circuit in found}
        has_pending = bool(self._urgent) or any(wave.pending for wave in self._waves)
        return RolloutState(
            waves=tuple(wave.state for wave in self._waves),
            gates=self._batch.gates,
            groups=tuple(state for circuit in known.values() if (state := circuit.state)),
            halted=self._halted or (self._failed if has_pending else ""),
            restoring=self._restoring,
        )

    # How it goes on

    @property
    def _wave(self) -> Wave | None:
        """The one that goes on, or is next."""
        return self._waves[self._current] if self._current < len(self._waves) else None

    @property
    def _is_over(self) -> bool:
        """No update will start any more, but for those that were cut short."""
        return bool(self._halted or self._failed) or self._wave is None

    @property
    def _stops_early(self) -> bool:
        return self._policy.stop_early or len(self._waves) > 1

    def _advance(self, now: float) -> None:
        for found in self._circuits.values():
            for circuit in found:
                circuit.tick(now)
        while self._step(now):
            pass
        if self._failed and not self._halted and self._restores is None and not self._running and not self._urgent:
            self._begin_restores()

    def _step(self, now: float) -> bool:
        """Whether it went on, so that there may be a further step."""
        wave = self._wave
        if wave is None or self._is_over:
            return False
        if words := self._failure(wave):
            self._fail(wave, words, now)
            return False
        return self._STEPS[wave.status](self, wave, now)

    def _failure(self, wave: Wave) -> str:
        if wave.left and not self._stops_early:
            return ""
        if gate := wave.jury.failed:
            return f"wave {wave.number} failed: {gate_words(gate)}"
        if gate := self._batch.failed:
            return f"the batch failed: {gate_words(gate)}"
        return ""

    def _open(self, wave: Wave, now: float) -> bool:
        wave.open(now)
        if wave.left and len(self._waves) > 1:
            self._notes.say(f"wave {wave.number} of {len(self._waves)} starts: {devices(wave.left)}")
        return True

    def _run(self, wave: Wave, now: float) -> bool:
        if wave.left:
            return False
        if wave.jury.is_open:
            return self._end_unjudged(wave, now)
        wave.passed(WaveStatus.SOAKING, now)
        if len(self._waves) > 1:
            self._notes.say(f"wave {wave.number} passed: {wave.jury.words}")
        following = self._waves[self._current + 1 : self._current + 2]
        if not following or following[0].had_begun:
            return self._go_on(wave)
        wave.until = now + self._policy.soak_s
        if self._policy.soak_s:
            self._notes.say(f"wave {following[0].number} starts in {self._policy.soak_s:g} s at the earliest")
        return True

    def _end_unjudged(self, wave: Wave, now: float) -> bool:
        """None of its devices counts, so that it has shown nothing that a further wave could build on."""
        if wave is self._waves[-1]:
            wave.close(WaveStatus.HALTED, now)
            self._current += 1
            return False
        self._stop(f"wave {wave.number} could not be judged: none of its devices ran", now)
        return False

    def _soak(self, wave: Wave, now: float) -> bool:
        if wave.until is not None and now < wave.until:
            return False
        if not self._policy.approve:
            return self._go_on(wave)
        wave.status, wave.until = WaveStatus.AWAITING_APPROVAL, now + self._policy.approval_timeout_s
        if not self._approved:
            timeout = f"{self._policy.approval_timeout_s:g} s"
            self._notes.say(f"wave {wave.number + 1} waits for an approval, {timeout} at most", loud=True)
        return True

    def _await(self, wave: Wave, now: float) -> bool:
        if self._approved:
            self._approved = False
            return self._go_on(wave)
        if wave.until is not None and now >= wave.until:
            self._stop(f"wave {wave.number + 1} was not approved within {self._policy.approval_timeout_s:g} s", now)
        return False

    def _go_on(self, wave: Wave) -> bool:
        wave.status, wave.until = WaveStatus.PASSED, None
        self._current += 1
        return True

    _STEPS: ClassVar = {
        WaveStatus.WAITING: _open,
        WaveStatus.RUNNING: _run,
        WaveStatus.SOAKING: _soak,
        WaveStatus.AWAITING_APPROVAL: _await,
    }

    def _fail(self, wave: Wave, words: str, now: float) -> None:
        self._failed = words
        self._close(wave, WaveStatus.FAILED if wave.jury.failed else WaveStatus.HALTED, now)
        self._notes.say(words, loud=True)

    def _stop(self, reason: str, now: float) -> None:
        self._halted = reason
        if (wave := self._wave) and not self._failed:
            self._close(wave, WaveStatus.HALTED, now)
        self._notes.say(f"halted: {reason}", loud=True)

    @staticmethod
    def _close(wave: Wave, status: WaveStatus, now: float) -> None:
        """A wave that only soaks, or awaits an approval, has passed."""
        is_through = wave.status in (WaveStatus.SOAKING, WaveStatus.AWAITING_APPROVAL)
        wave.close(WaveStatus.PASSED if is_through else status, now)

    def _begin_restores(self) -> None:
        """Newest wave first, and of a wave the last started first."""
        self._restores = deque()
        if not self._policy.restore or not self._restorable:
            return
        self._restores.extend(sorted(self._restorable, key=self._age, reverse=True))
        self._restoring = True
        self._notes.say(f"restoring {devices(len(self._restores))}, newest wave first", loud=True)

    def _age(self, device_id: str) -> tuple[int, int]:
        return self._wave_of[device_id].number, self._starts[device_id]

    def _drop(self, circuit: Circuit) -> None:
        """The rest of the group is not run, and no gate counts it."""
        dropped = [
            device_id
            for device_id, found in self._circuits.items()
            if circuit in found and device_id in self._wave_of and device_id in self._wave_of[device_id].pending
        ]
        for device_id in dropped:
            self._wave_of[device_id].drop(device_id)
            self._batch.drop()
            self._dropped[device_id] = f"group {circuit.group} was given up: {circuit.reason}"
        if dropped:
            self._notes.say(
                f"{devices(len(dropped))} of group {circuit.group} not run, and counted by no gate", loud=True
            )
