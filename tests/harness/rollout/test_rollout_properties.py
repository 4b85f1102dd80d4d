"""What holds of every rollout, whatever the policy and in whatever order things happen."""

from __future__ import annotations

from collections import Counter

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from harness.rollout.gates import judge
from harness.rollout.sizes import split_again
from harness.rollout.state import GroupStatus, RolloutState, Verdict, WaveStatus
from harness.rollout.waves import Action, Rollout, Start
from tests.harness.rollout.policies import fates, likely_results, policies

DEVICES = tuple(f"d{number}" for number in range(12))
some_devices = st.sets(st.sampled_from(DEVICES), max_size=5)
NO_PAST = (frozenset(), {}, frozenset())
LATER_S = 1000.0  # longer than any soak, pause or wait


class RolloutMachine(RuleBasedStateMachine):
    @initialize(data=st.data(), count=st.integers(0, len(DEVICES)))
    def begin(self, data, count):
        self.devices = DEVICES[:count]
        self.policy = data.draw(policies(DEVICES))
        self.fates = data.draw(fates(DEVICES, self.policy))
        self.excluded = dict.fromkeys(data.draw(some_devices), "in quarantine")
        self.recover, done, self.restored = self.draw_past(data) if data.draw(st.booleans()) else NO_PAST
        before = self.draw_state(data) if data.draw(st.booleans()) else RolloutState()
        self.had_failed = bool(before.failed)
        self.rollout = Rollout(
            self.policy,
            self.devices,
            excluded=self.excluded,
            done=done,
            restored=self.restored,
            recover=self.recover,
            before=before,
        )
        self.had_restored = before.restoring or bool(self.restored)
        self.restored -= self.recover  # one that is recovered ends anew, and may have to be taken back again
        stay = {d for wave in before.waves for d in wave.devices} if self.had_failed else set()
        run = {*self.devices} - {*self.excluded} | {*done} | self.recover
        self.chosen = [d for d in self.devices if d in run | stay]
        self.cut = before.as_cut
        self.results = {d: result for d, result in done.items() if d not in self.recover}
        self.before = frozenset(self.results)
        self.begin_to_watch()

    def draw_past(self, data):
        """Of a run that is resumed."""
        recover = frozenset(data.draw(some_devices)) & set(self.devices)
        done = data.draw(st.dictionaries(st.sampled_from(DEVICES), likely_results))
        done = {d: result for d, result in done.items() if d in self.devices}
        restored = frozenset(d for d, result in done.items() if result.restorable and data.draw(st.booleans()))
        return recover, done, restored

    def draw_state(self, data):
        """Where it stood, after it had been resumed without some devices."""
        first = Rollout(self.policy, self.devices, excluded=dict.fromkeys(data.draw(some_devices), "")).state()
        left_out = dict.fromkeys(data.draw(some_devices), "")
        before = Rollout(self.policy, self.devices, excluded=left_out, before=first).state()
        if not before.waves or not data.draw(st.booleans()):
            return before
        failed = before.waves[0].model_copy(update={"status": WaveStatus.FAILED})
        waves = (failed, *before.waves[1:])
        return before.model_copy(
            update={"failed": "wave 1 failed", "waves": waves, "restoring": data.draw(st.booleans())}
        )

    def begin_to_watch(self):
        self.now = 0.0
        self.running: dict[str, Start] = {}
        self.starts: Counter[Start] = Counter()  # a lost one is taken back
        self.urgent = set(self.recover)
        self.untouched: set[str] = set()  # lost before they were written
        self.order = list(self.results)  # of their last starts
        self.halted = False
        self.approvals = 0
        self.opened: set[int] = set()  # waves that had to soak and to be approved
        self.last_end: dict[int, float] = {}  # of a device of the wave, or when the last one was given up
        self.dropped: set[str] = set()
        self.lost_restores: set[str] = set()
        self.restored_in_order: list[str] = []
        self.verdicts: dict[tuple[int, str], Verdict] = {}
        self.note()

    # What the machine does

    @rule(data=st.data(), in_order=st.sampled_from([True, True, False]))
    def start(self, data, in_order):
        ready = self.rollout.ready(self.now)
        if ready:
            self.begin_one(ready[0] if in_order else data.draw(st.sampled_from(ready)))

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def end(self, data):
        self.end_one(data.draw(st.sampled_from(sorted(self.running))))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), is_written=st.booleans())
    def lose(self, data, is_written):
        device_id = data.draw(st.sampled_from(sorted(self.running)))
        start = self.running.pop(device_id)
        self.starts[start] -= 1
        if start.action is Action.UPDATE:
            (self.urgent if is_written else self.untouched).add(device_id)
        else:
            self.lost_restores.add(device_id)
            self.restored_in_order.remove(device_id)
        self.rollout.lost(device_id, self.now, is_written=is_written)
        ready = start in self.rollout.ready(self.now)
        is_over = self.halted or bool(self.rollout.state().failed)
        if start.action is Action.UPDATE and not is_written:
            assert not (ready and is_over), "a rollout that is over starts nothing that it need not"
        elif not self.halted:
            assert ready
        self.note()

    @rule(seconds=st.sampled_from([1.0, 10.0, 40.0]))
    def time_passes(self, seconds):
        self.now += seconds
        self.rollout.ready(self.now)
        self.note()

    @rule()
    def approve(self):
        self.rollout.approve(self.now)
        self.approvals += 1
        self.note()

    @rule(really=st.integers(0, 19))
    def halt(self, really):
        if really == 0 and not self.rollout.finished:
            self.rollout.halt("Ctrl-C", self.now)
            self.halted = True
            self.note()

    def begin_one(self, start):
        self.starts[start] += 1
        assert self.starts[start] == 1, "nothing starts twice"
        assert start.device_id not in self.running
        if start.action is Action.UPDATE:
            assert start.device_id not in self.results
            self.may_update(start.device_id)
            self.urgent.discard(start.device_id)
            self.untouched.discard(start.device_id)
            if start.device_id in self.order:
                self.order.remove(start.device_id)
            self.order.append(start.device_id)
        else:
            self.may_restore(start.device_id)
        self.running[start.device_id] = start
        self.rollout.started(start, self.now)
        self.note()

    def end_one(self, device_id):
        if self.running.pop(device_id).action is Action.UPDATE:
            result = self.results[device_id] = self.fates[device_id]
            self.last_end[self.rollout.state().wave_of(device_id)] = self.now
            self.rollout.ended(device_id, result, self.now)
        else:
            self.rollout.restore_ended(device_id, self.now)
        self.note()

    def note(self):
        """Take down what can be seen from outside."""
        state = self.rollout.state()
        for group in state.groups:
            if group.status is GroupStatus.GIVEN_UP:
                self.dropped |= {
                    d for d in self.group(group.name).devices if d in self.chosen and self.never_started(d)
                }

    # What must hold when something starts

    def may_update(self, device_id):
        assert not self.halted
        if device_id in self.urgent:
            return
        assert not self.had_failed
        if device_id in self.untouched:
            assert not self.rollout.state().failed
            return
        assert device_id not in self.dropped
        state = self.rollout.state()
        number = state.wave_of(device_id)
        assert state.waves[number - 1].status is WaveStatus.RUNNING
        assert not state.halted
        for earlier in state.waves[: number - 1]:
            self.has_passed(earlier)
        if number > 1 and not self.had_begun(state.waves[number - 1]):
            assert self.now >= self.last_end.get(number - 1, 0.0) + self.policy.soak_s
            self.opened.add(number)
            assert not self.policy.approve or self.approvals >= len(self.opened), "one approval opens one wave"
        if self.policy.stop_early or len(state.waves) > 1:
            own = self.judged(state.waves[number - 1].devices, self.policy.success_threshold)
            batch = self.judged(self.chosen, None)
            assert Verdict.FAILED not in {gate.verdict for gate in (*own, *batch)}

    def has_passed(self, wave):
        left = set(wave.devices) - set(self.results) - self.dropped
        assert not left, "the wave before has ended"
        assert {g.verdict for g in self.judged(wave.devices, self.policy.success_threshold)} <= {Verdict.PASSED}
        assert wave.status is WaveStatus.PASSED

    def may_restore(self, device_id):
        assert not self.halted
        assert self.policy.restore
        assert not self.urgent
        assert not any(start.action is Action.UPDATE for start in self.running.values())
        assert self.results[device_id].restorable
        assert device_id not in self.restored
        verdicts = {gate.verdict for gate in self.rollout.state().all_gates}
        assert self.had_failed or Verdict.FAILED in verdicts
        self.restored_in_order.append(device_id)

    # What holds at all times

    @invariant()
    def never_over_a_limit(self):
        self.fits(list(self.running))
        self.fits([*self.running, *(start.device_id for start in self.rollout.ready(self.now))])

    def fits(self, working):
        assert len(working) == len(set(working))
        assert len(working) <= self.policy.max_concurrent
        for group in self.policy.groups:
            if group.max_concurrent is not None:
                assert len(set(working) & set(group.devices)) <= group.max_concurrent

    @invariant()
    def what_was_cut_short_comes_first(self):
        ready = [start.device_id for start in self.rollout.ready(self.now)]
        ranks = [2 if d in self.urgent else 1 if d in self.untouched else 0 for d in ready]
        assert ranks == sorted(ranks, reverse=True)

    @invariant()
    def newest_boards_are_taken_back_first(self):
        state = self.rollout.state()
        ready = [start.device_id for start in self.rollout.ready(self.now) if start.action is Action.RESTORE]
        ages = [(state.wave_of(d), self.order.index(d)) for d in ready if d not in self.lost_restores]
        assert ages == sorted(ages, reverse=True)

    @invariant()
    def nothing_starts_after_a_halt(self):
        if self.halted:
            assert self.rollout.ready(self.now) == ()
            assert self.rollout.finished == (not self.running)

    @invariant()
    def nobody_is_held_without_a_reason(self):
        """What may start is as much as there is room for; a paused group holds its own devices only."""
        ready = self.rollout.ready(self.now)
        state = self.rollout.state()
        wave = next((wave for wave in state.waves if wave.status is WaveStatus.RUNNING), None)
        working = [*self.running, *(start.device_id for start in ready)]
        if wave is None or self.halted or len(working) >= self.policy.max_concurrent:
            return
        held = {d for group in state.groups for d in self.group(group.name).devices}
        full = {
            d for group in self.policy.groups
            if group.max_concurrent is not None and len(set(working) & set(group.devices)) >= group.max_concurrent
            for d in group.devices
        }  # fmt: skip
        for device_id in wave.devices:
            assert device_id in self.results or device_id in working or device_id in held | full

    @invariant()
    def a_paused_group_starts_nothing_and_one_on_trial_one_device(self):
        ready = [s.device_id for s in self.rollout.ready(self.now) if s.action is Action.UPDATE]
        for group in self.rollout.state().groups:
            members = (set(self.group(group.name).devices) & set(ready)) - self.urgent - self.untouched
            assert len(members) <= (1 if group.status is GroupStatus.TRYING else 0)

    @invariant()
    def a_verdict_is_never_taken_back(self):
        state = self.rollout.state()
        for number, gates in ((0, state.gates), *((wave.number, wave.gates) for wave in state.waves)):
            for gate in gates:
                known = self.verdicts.get((number, gate.name), Verdict.OPEN)
                assert known in (Verdict.OPEN, gate.verdict)
                self.verdicts[number, gate.name] = gate.verdict

    @invariant()
    def gates_are_those_of_the_results_so_far(self):
        state = self.rollout.state()
        assert state.gates == self.judged(self.chosen, None)
        for wave in state.waves:
            assert wave.gates == self.judged(wave.devices, self.policy.success_threshold)

    @invariant()
    def each_device_has_started_or_has_a_reason_why_not(self):
        for device_id in self.devices:
            has_begun = device_id in self.results or device_id in self.running
            assert bool(self.rollout.reason(device_id)) != has_begun

    @invariant()
    def every_device_but_the_excluded_is_in_one_wave(self):
        state = self.rollout.state()
        assert sorted(d for wave in state.waves for d in wave.devices) == sorted(self.chosen)
        if self.cut:
            assert [w.devices for w in state.waves] == split_again(self.chosen, self.cut)
            assert not state.cut or state.cut == self.cut
        assert all(wave.devices for wave in state.waves)
        assert RolloutState.model_validate_json(state.model_dump_json()) == state

    @invariant()
    def what_had_failed_stays_failed(self):
        if self.had_failed:
            assert self.rollout.state().verdict is Verdict.FAILED

    @invariant()
    def it_goes_on_or_waits_or_is_finished(self):
        ready = self.rollout.ready(self.now)
        is_idle = not self.running and not ready
        assert self.rollout.awaits_time == (is_idle and not self.rollout.finished)
        if self.rollout.finished:
            assert is_idle

    # To the end

    def teardown(self):
        """However far it came: let everything run, and it ends."""
        if not hasattr(self, "rollout"):
            return
        for _ in range(200):
            if self.rollout.finished:
                break
            self.go_on()
        assert self.rollout.finished
        self.check_end()

    def go_on(self):
        if ready := self.rollout.ready(self.now):
            self.begin_one(ready[0])
        elif self.running:
            self.end_one(min(self.running))
        else:
            assert self.rollout.awaits_time
            self.now += LATER_S
            self.rollout.approve(self.now)
            self.approvals += 1
            self.rollout.ready(self.now)
            self.note()
        self.never_over_a_limit()
        self.newest_boards_are_taken_back_first()
        self.a_verdict_is_never_taken_back()

    def check_end(self):
        self.each_device_has_started_or_has_a_reason_why_not()
        state = self.rollout.state()
        not_run = set(self.chosen) - set(self.results) - self.dropped
        assert not not_run or state.halted
        if self.halted:
            return
        assert not self.urgent
        if self.policy.restore and self.is_failed(state):
            self.check_restored()
        else:
            assert not self.restored_in_order
        if not state.halted and state.verdict is Verdict.PASSED:
            assert all(wave.status is WaveStatus.PASSED for wave in state.waves)

    def is_failed(self, state):
        """A gate ended it; a wave that is still to come may have failed ones as well, of a run that was resumed."""
        assert not self.had_failed or state.failed
        if self.had_failed:
            return True
        over = {WaveStatus.PASSED, WaveStatus.FAILED, WaveStatus.HALTED}
        judged = [gate for wave in state.waves if wave.status in over for gate in wave.gates]
        timed_out = "approved" in state.halted or "judged" in state.halted
        return not timed_out and Verdict.FAILED in {gate.verdict for gate in (*judged, *state.gates)}

    def check_restored(self):
        wanted = {d for d, result in self.results.items() if result.restorable} - self.restored
        assert set(self.restored_in_order) == wanted
        assert self.rollout.state().restoring == (bool(wanted) or self.had_restored)

    # Helpers

    def group(self, name):
        return next(group for group in self.policy.groups if group.name == name)

    def never_started(self, device_id):
        return device_id not in self.order and device_id not in self.recover

    def had_begun(self, wave):
        return bool((self.before | self.recover) & set(wave.devices))

    def judged(self, devices, success_threshold):
        ended = {d: result for d, result in self.results.items() if d in devices}
        total = len(set(devices) - self.dropped)
        return judge(self.policy.gates, success_threshold, ended, total)


RolloutMachine.TestCase.settings = settings(
    deadline=None, max_examples=150, stateful_step_count=40, suppress_health_check=[HealthCheck.too_slow]
)
TestEveryRollout = RolloutMachine.TestCase
