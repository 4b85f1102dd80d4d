"""The rollout of a run, on the controller: between the pure machine of `rollout/`, the scheduler and the journal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from harness.batchrun import BatchRun
from harness.control import Control, Order
from harness.journal import Kind
from harness.outcomes import result_of
from harness.record import DeviceRecord, Outcome
from harness.recovery import is_left_half_done
from harness.rollout.gates import Result
from harness.rollout.state import RolloutState
from harness.rollout.waves import Action, Rollout, Start
from harness.run_log import RunLog
from harness.run_state import RunState

_DEATHS = 2
"""So many workers may die at a device; then it is left alone. One death may be the machine's (out of memory)."""


class Steering:
    """The scheduler's `Pilot`."""

    def __init__(
        self,
        run: BatchRun,
        state: RunState,
        log: RunLog,
        excluded: Mapping[str, str],
        say: Callable[[str], None],
        attended: Callable[[], None],
    ) -> None:
        """`excluded`: devices that are not to be run, each with the reason. `say` shows a line to the user.

        `attended` is called a few times a second, on the thread of everything else here.
        """
        self._run = run
        self._state = state
        self._log = log
        self._excluded = excluded
        self._say = say
        self._control = Control(run.folder.control)
        self._rollout = Rollout(run.plan.rollout, ())
        self._attended = attended
        self.begun = False
        self.cancelled = False
        self.stop_asked = ""
        """Set in a signal's handler: why nothing more is to be started."""
        self._deaths: dict[str, int] = {}
        self._told: object = None
        self._halt_asked = ""
        self.left_out: tuple[str, ...] = ()
        """Devices that have not ended, and that this session, which goes on with the run, was not to work on (-k)."""

    # The scheduler's questions

    @property
    def finished(self) -> bool:
        return self.begun and self._rollout.finished

    def begin(self, device_ids: Sequence[str]) -> None:
        chosen = self._state.choose(device_ids)
        if not self._log.tell(Kind.CHOSEN, devices=chosen):  # who resumes this run must not take others for chosen
            self._halt_asked = self._halt_asked or self._log.fault
        found = [device for device_id in chosen if (device := self._state.device(device_id))]
        collected = frozenset(device_ids)
        self.left_out = tuple(d.device_id for d in found if d.device_id not in collected and not d.certain_outcome)
        # An emergency that nobody takes up now is the failure that it was, or gates would pass without it.
        ended = [d for d in found if d.certain_outcome or (_is_emergency(d) and d.device_id in self.left_out)]
        ended.sort(key=lambda d: d.ended or 0.0)  # the canary looks in order
        done = {device.device_id: _result_before(device, collected) for device in ended}
        excluded = {**self._excluded, **dict.fromkeys(self.left_out, "not chosen when the run was resumed")}
        self._rollout = Rollout(
            self._run.plan.rollout,
            chosen,
            excluded={name: why for name, why in excluded.items() if name not in done},
            done=done,
            restored=frozenset(device.device_id for device in found if device.certain_outcome is Outcome.RESTORED),
            recover=frozenset(d.device_id for d in found if is_left_half_done(d) and d.device_id in collected),
            before=self._before(),
        )
        self.begun = True
        if self._halt_asked or self.stop_asked:
            self.halt(self._halt_asked or self.stop_asked)
        self._tell()

    def _before(self) -> RolloutState:
        """A rollout that somebody orders back is one that has failed, whatever its gates have said."""
        before, by = self._state.rollout_before, self._run.taken_back_by
        return before.model_copy(update={"failed": before.failed or f"{by} ordered it back"}) if by else before

    def ready(self) -> Sequence[Start]:
        """Orders first: one that has come while this process stood still is older than what would start now."""
        self._obey_signal()
        self._obey_cancel()
        ready = self._rollout.ready(self._run.clock()) if self.begun else ()
        self._tell()
        return ready

    def _obey_signal(self) -> None:
        if self.stop_asked and not self._halt_asked:
            self.halt(self.stop_asked)

    def _obey_cancel(self) -> None:
        if who := self._control.take(Order.CANCEL):
            self.cancelled = True
            self._state.interrupted = self._state.interrupted or f"the run was cancelled by {who}"
            self._say(f"cancelled by {who}: no further device is started, running ones go on to their end")
            self.halt(self._state.interrupted)

    def started(self, start: Start) -> None:
        self._rollout.started(start, self._run.clock())
        self._tell()

    def ended(self, start: Start) -> None:
        now = self._run.clock()
        if start.action is Action.RESTORE:
            self._rollout.restore_ended(start.device_id, now)
        else:
            self._rollout.ended(start.device_id, self._result(start.device_id), now)
        self._tell()

    def _result(self, device_id: str) -> Result:
        device = self._state.device(device_id)
        return result_of(device) if device else Result(succeeded=False, ran=False)

    def lost(self, start: Start) -> None:
        if self.may_run_again(start.device_id):
            device = self._state.device(start.device_id)
            is_written = device is None or device.was_written
            self._rollout.lost(start.device_id, self._run.clock(), is_written=is_written)
            self._tell()
        else:
            self.ended(start)

    # The controller's orders

    def died(self, device_id: str) -> None:
        """A worker died at the device; `lost` follows."""
        self._deaths[device_id] = self._deaths.get(device_id, 0) + 1

    def may_run_again(self, device_id: str) -> bool:
        """Whether a device whose worker died is run once more, on a new one that finds its journal."""
        return self._deaths.get(device_id, 0) < _DEATHS and not (self._halt_asked or self.stop_asked)

    @property
    def killers(self) -> tuple[str, ...]:
        """Devices at which so many workers died that they were left alone."""
        return tuple(device_id for device_id, deaths in self._deaths.items() if deaths >= _DEATHS)

    def halt(self, reason: str) -> None:
        """Nothing more is started; what is running goes on to its end."""
        self._halt_asked = self._halt_asked or reason
        if self.begun:
            self._rollout.halt(reason, self._run.clock())
            self._tell()

    def attend(self) -> None:
        """Look what was ordered from outside, and whether a pause is over (`ready` will tell)."""
        self._attended()
        self._obey_signal()
        self._obey_cancel()
        if who := self._control.take(Order.APPROVE):
            self._say(f"approved by {who}")
            self._rollout.approve(self._run.clock())
            self._tell()

    def reason(self, device_id: str) -> str:
        """Why a device that did not run did not, in words."""
        return self._rollout.reason(device_id) if self.begun else self._halt_asked

    def _tell(self) -> None:
        for note in self._rollout.notes():
            self._log.tell(Kind.NOTE, text=note.text, loud=note.loud)
            self._say(note.text)
        if _gist(self._rollout.state()) != self._told:
            self.write_state()

    def write_state(self) -> None:
        """The rollout with its figures as they are now, into the run's journal."""
        if not self.begun:  # a resumed run that ends before its first device stands where it stood
            return
        state = self._rollout.state()
        self._told = _gist(state)
        self._log.tell(Kind.ROLLOUT, state=state.model_dump(mode="json"))


def _is_emergency(device: DeviceRecord) -> bool:
    return device.outcome is Outcome.EMERGENCY


def _result_before(device: DeviceRecord, collected: frozenset[str]) -> Result:
    """How it had ended; one that this session has no item of can not be taken back now."""
    result = result_of(device)
    return result if device.device_id in collected else replace(result, restorable=False)


def _gist(state: RolloutState) -> object:
    """What is worth a line in the journal: not each figure of a gate that is still open."""
    waves = tuple((wave.status, wave.until, tuple(gate.verdict for gate in wave.gates)) for wave in state.waves)
    gates = tuple(gate.verdict for gate in state.gates)
    return waves, gates, state.groups, state.failed, state.halted, state.restoring
