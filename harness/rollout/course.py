"""Where a rollout stands: one wave after the other, until a gate fails or somebody halts it. Pure.

A wave goes WAITING → RUNNING → SOAKING → AWAITING_APPROVAL → PASSED, or ends FAILED (a gate of its own) or HALTED
(anything else). A wave that only soaks or awaits its approval when the rollout ends has PASSED.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.rollout.gates import Jury
from harness.rollout.notes import Notes, devices_words
from harness.rollout.policy import RolloutPolicy
from harness.rollout.sizes import split, split_again
from harness.rollout.state import RolloutState, WaveStatus
from harness.rollout.tally import Result
from harness.rollout.wave import Wave
from harness.rollout.wording import gate_words


class Course:
    """The waves in order, and whether they go on."""

    def __init__(self, policy: RolloutPolicy, devices: Sequence[str], notes: Notes, before: RolloutState) -> None:
        """`before`: where the rollout stood when its run was cut short; blank for one that begins."""
        self._policy = policy
        self._notes = notes
        cut = before.as_cut
        parts = split_again(devices, cut) if cut else split(devices, policy.waves)
        self.cut = () if cut == tuple(parts) else cut
        """The waves as they were first cut, where devices have joined or been left out since."""
        self.waves = [Wave(at, part, policy) for at, part in enumerate(parts, start=1)]
        self._wave_of = {device_id: wave for wave in self.waves for device_id in wave.devices}
        self.batch = Jury(policy.gates, None, len(devices))
        self._current = 0
        self._approved = False
        self.failed = before.failed
        """The gate that ended the rollout, in words."""
        self.halted = ""
        """What else ended it, in words."""
        if self.failed:
            self._stay(before)

    def _stay(self, before: RolloutState) -> None:
        states = {device_id: wave for wave in before.waves for device_id in wave.devices}
        for wave in self.waves:
            if state := next((states[device_id] for device_id in wave.devices if device_id in states), None):
                wave.stay(state)
        self._notes.say(f"no further device is updated: {self.failed}", loud=True)

    @property
    def wave(self) -> Wave | None:
        """The one that goes on, or is next; None after the last."""
        return self.waves[self._current] if self._current < len(self.waves) else None

    @property
    def is_over(self) -> bool:
        """No wave goes on."""
        return bool(self.failed or self.halted) or self.wave is None

    def wave_of(self, device_id: str) -> Wave | None:
        return self._wave_of.get(device_id)

    def count(self, device_id: str, result: Result) -> None:
        self._wave_of[device_id].count(device_id, result)
        self.batch.add(device_id, result)

    def drop(self, device_id: str) -> bool:
        """The device is not run at all, and no gate counts it. Whether it was still to start."""
        wave = self._wave_of.get(device_id)
        if wave is None or device_id not in wave.pending:
            return False
        wave.drop(device_id)
        self.batch.drop()
        return True

    def approve(self, now: float) -> None:
        if not (self.wave and self.wave.status is WaveStatus.AWAITING_APPROVAL):  # nobody was told yet that it is late
            self.advance(now)
        if self.is_over or not self._policy.approve or self._current == len(self.waves) - 1:
            self._notes.say("the approval changes nothing: no wave will wait for one")
            return
        self._approved = True
        self.advance(now)

    def halt(self, reason: str, now: float) -> None:
        self.halted = reason
        if self.wave and not self.failed:
            self.wave.close(WaveStatus.HALTED, now)
        self._notes.say(f"halted: {reason}", loud=True)

    def advance(self, now: float) -> None:
        """To where the rollout stands at that time."""
        while self._step(now):
            pass

    def _step(self, now: float) -> bool:
        """Whether it went on, so that there may be a further step."""
        wave = self.wave
        if wave is None or self.is_over:
            return False
        if words := self._failure(wave):
            self._fail(wave, words, now)
            return False
        step = {
            WaveStatus.WAITING: self._open,
            WaveStatus.RUNNING: self._run,
            WaveStatus.SOAKING: self._soak,
            WaveStatus.AWAITING_APPROVAL: self._await,
        }[wave.status]
        return step(wave, now)

    def _failure(self, wave: Wave) -> str:
        """The gate that must end the rollout now, in words. An only wave runs to its end, without `stop_early`."""
        if wave.left and len(self.waves) == 1 and not self._policy.stop_early:
            return ""
        if gate := wave.jury.failed:
            return f"wave {wave.number} failed: {gate_words(gate)}"
        if gate := self.batch.failed:
            return f"the batch failed: {gate_words(gate)}"
        return ""

    def _fail(self, wave: Wave, words: str, now: float) -> None:
        self.failed = words
        wave.close(WaveStatus.FAILED if wave.jury.failed else WaveStatus.HALTED, now)
        self._notes.say(words, loud=True)

    def _open(self, wave: Wave, now: float) -> bool:
        wave.open(now)
        if wave.left and len(self.waves) > 1:
            self._notes.say(f"wave {wave.number} of {len(self.waves)} starts: {devices_words(wave.left)}")
        return True

    def _run(self, wave: Wave, now: float) -> bool:
        if wave.left:
            return False
        if wave.jury.is_open:
            return self._end_unjudged(wave, now)
        if len(self.waves) > 1:
            self._notes.say(f"wave {wave.number} passed: {wave.jury.words}")
        wave.soak(now, self._soak_s(wave))
        return True

    def _end_unjudged(self, wave: Wave, now: float) -> bool:
        """None of its devices counts: it has shown nothing that a further wave could build on."""
        if wave is self.waves[-1]:
            wave.close(WaveStatus.HALTED, now)
            self._current += 1
        else:
            self.halt(f"wave {wave.number} could not be judged: none of its devices ran", now)
        return False

    def _soak_s(self, wave: Wave) -> float:
        """None after the last wave, nor before one that had begun."""
        if not self._opens_a_new_one(wave) or not self._policy.soak_s:
            return 0.0
        self._notes.say(f"wave {wave.number + 1} starts in {self._policy.soak_s:g} s at the earliest")
        return self._policy.soak_s

    def _opens_a_new_one(self, wave: Wave) -> bool:
        return wave is not self.waves[-1] and not self.waves[wave.number].had_begun

    def _soak(self, wave: Wave, now: float) -> bool:
        if wave.until is not None and now < wave.until:
            return False
        if not self._policy.approve or not self._opens_a_new_one(wave):
            return self._go_on(wave)
        wave.await_approval(now, self._policy.approval_timeout_s)
        if not self._approved:
            timeout = f"{self._policy.approval_timeout_s:g} s"
            self._notes.say(f"wave {wave.number + 1} waits for an approval, {timeout} at most", loud=True)
        return True

    def _await(self, wave: Wave, now: float) -> bool:
        if self._approved:
            self._approved = False
            return self._go_on(wave)
        if wave.until is not None and now >= wave.until:
            self.halt(f"wave {wave.number + 1} was not approved within {self._policy.approval_timeout_s:g} s", now)
        return False

    def _go_on(self, wave: Wave) -> bool:
        wave.passed()
        self._current += 1
        return True
