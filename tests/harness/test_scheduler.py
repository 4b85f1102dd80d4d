"""Whatever order workers come, end and die in: every device ends exactly once, and none waits behind another."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from harness.holding import HOLD, take_off
from harness.rollout.gates import Result
from harness.rollout.policy import RolloutPolicy, WaveSize
from harness.rollout.waves import Action, Rollout, Start
from harness.scheduler import DeviceScheduling


class Pilot:
    """A rollout without a clock, a journal or records: what `Steering` is without its surroundings."""

    def __init__(self, policy: RolloutPolicy, failing: frozenset[str] = frozenset(), again: bool = False) -> None:
        self._policy = policy
        self._failing = failing
        self._again = again
        self._rollout = Rollout(policy, ())
        self._begun = False
        self.beats = 0

    @property
    def finished(self) -> bool:
        return self._begun and self._rollout.finished

    def begin(self, device_ids) -> None:
        self._rollout = Rollout(self._policy, device_ids)
        self._begun = True
        self._rollout.ready(0.0)

    def ready(self):
        return self._rollout.ready(0.0) if self._begun else ()

    def started(self, start: Start) -> None:
        self._rollout.started(start, 0.0)

    def ended(self, start: Start) -> None:
        if start.action is Action.RESTORE:
            self._rollout.restore_ended(start.device_id, 0.0)
        else:
            good = start.device_id not in self._failing
            self._rollout.ended(start.device_id, Result(succeeded=good, restorable=good), 0.0)

    def lost(self, start: Start) -> None:
        if self._again:
            self._rollout.lost(start.device_id, 0.0, is_written=True)
        else:
            self.ended(start)

    def attend(self) -> None:
        self.beats += 1


ALL_AT_ONCE = RolloutPolicy(max_concurrent=99)


class Worker:
    """Runs items as xdist's worker does: one is started only when the next, or the shutdown, has arrived."""

    def __init__(self, devices: int, others: int = 0) -> None:
        self._hold = 2 * devices + others
        self._queue: list[int] = []
        self._shut = False
        self.dead = False

    @property
    def shutting_down(self) -> bool:
        return self._shut

    def send_runtest_some(self, indices) -> None:
        if self.dead:
            raise OSError("cannot send (already closed?)")
        self._queue += indices

    def shutdown(self) -> None:
        self._shut = True

    @property
    def device(self) -> int | None:
        """The device that is being worked on."""
        known = [index for index in self._queue[: None if self._shut else -1] if index != self._hold]
        return known[0] if known else None

    def finish(self) -> list[int]:
        """The items that end, holds included, until a device has ended."""
        ended = []
        while self._queue and (len(self._queue) > 1 or self._shut):
            ended.append(self._queue.pop(0))
            if ended[-1] != self._hold:
                return ended
        return ended


class Runs(RuleBasedStateMachine):
    """A session of xdist's controller, as dsession.py drives a scheduler."""

    @initialize(devices=st.integers(0, 12), workers=st.integers(1, 5))
    def begin(self, devices: int, workers: int) -> None:
        self.pilot = Pilot(ALL_AT_ONCE)
        self.scheduling = DeviceScheduling(self.pilot)
        self.ids = [f"batch.yaml::test_flash[{n}]" for n in range(devices)]
        self.ended: list[str] = []
        self.coming: list[Worker] = []
        self.ready: list[Worker] = []
        for _ in range(workers):
            self._add_worker()

    def _add_worker(self) -> None:
        worker = Worker(len(self.ids))
        self.scheduling.add_node(worker)
        self.coming.append(worker)

    @precondition(lambda self: self.coming)
    @rule(which=st.integers(0, 99))
    def a_worker_is_up(self, which: int) -> None:
        worker = self.coming.pop(which % len(self.coming))
        self.scheduling.add_node_collection(worker, self.ids)
        self.ready.append(worker)
        self.scheduling.schedule()

    @precondition(lambda self: self.working())
    @rule(which=st.integers(0, 99))
    def a_device_ends(self, which: int) -> None:
        worker = self.working()[which % len(self.working())]
        for index in worker.finish():
            if index < len(self.ids):
                self.ended.append(self.ids[index])
            self.scheduling.mark_test_complete(worker, index)

    @precondition(lambda self: self.ready)
    @rule(which=st.integers(0, 99), again=st.booleans())
    def a_worker_dies(self, which: int, again: bool) -> None:
        worker = self.ready.pop(which % len(self.ready))
        was_at = worker.device
        crashed = self.scheduling.remove_node(worker)
        assert crashed == (None if was_at is None else self.ids[was_at])
        if crashed:
            self.pilot._again = again
            self.scheduling.mark_test_pending(crashed)
        if crashed and not again:
            self.ended.append(crashed)
        self._add_worker()

    def working(self) -> list[Worker]:
        return [worker for worker in self.ready if worker.device is not None]

    @invariant()
    def no_device_ends_twice(self) -> None:
        assert len(self.ended) == len(set(self.ended))

    @invariant()
    def no_worker_is_idle_while_a_device_waits(self) -> None:
        started = len(self.ended) + len(self.working())
        assert len(self.working()) == len(self.ready) or started == len(self.ids)

    @invariant()
    def it_is_finished_when_every_device_has_ended_and_not_before(self) -> None:
        collected = self.scheduling.collection_is_completed
        assert self.scheduling.tests_finished == (collected and len(self.ended) == len(self.ids))


TestScheduling = Runs.TestCase


def test_a_worker_with_other_items_is_sent_home():
    scheduling, stranger = DeviceScheduling(Pilot(ALL_AT_ONCE)), Worker(1)
    scheduling.add_node_collection(Worker(1), ["batch.yaml::test_flash[A]"])
    scheduling.add_node_collection(stranger, ["batch.yaml::test_flash[B]"])
    scheduling.schedule()
    assert stranger._shut
    assert stranger.device is None


IDS = ["batch.yaml::test_flash[A]", "batch.yaml::test_flash[B]"]


def test_when_the_last_worker_has_gone_of_itself_the_session_ends_whatever_is_left():
    scheduling = started(worker := Worker(2))
    scheduling.remove_node(worker)
    assert not scheduling.tests_finished, "another may be coming up"
    scheduling.has_workers = False
    assert scheduling.tests_finished
    assert scheduling.has_pending


def started(*workers: Worker, policy: RolloutPolicy = ALL_AT_ONCE, failing: str = "") -> DeviceScheduling:
    scheduling = DeviceScheduling(Pilot(policy, frozenset(failing)))
    for worker in workers:
        scheduling.add_node(worker)
        scheduling.add_node_collection(worker, IDS)
    scheduling.schedule()
    return scheduling


def test_a_worker_that_is_shut_down_gets_nothing_more():
    worker = Worker(2)
    scheduling = started(worker)
    worker.shutdown()
    for index in worker.finish():
        scheduling.mark_test_complete(worker, index)
    assert scheduling.remove_node(worker) is None
    assert scheduling.has_pending


def test_the_device_of_a_worker_that_dies_before_it_hears_of_it_goes_to_the_next_worker():
    dead, alive = Worker(2), Worker(2)
    dead.dead = True
    scheduling = started(dead)
    assert scheduling.remove_node(dead) is None
    scheduling.add_node_collection(alive, IDS)
    scheduling.schedule()
    assert alive.device == 0


def test_workers_that_never_got_to_work_can_leave():
    scheduling, homeless = started(Worker(2)), Worker(2)
    scheduling.add_node(homeless)
    scheduling.add_node_collection(homeless, ["other.yaml::test_flash[A]"])
    assert scheduling.remove_node(homeless) is None
    with pytest.raises(KeyError):  # as xdist expects of one that died before it was up
        scheduling.remove_node(Worker(2))


@pytest.mark.parametrize("ids", [[], ["a"], ["a", "batch.yaml::restore[A]", HOLD]])
def test_what_is_sent_only_when_wanted_is_not_counted(ids):
    take_off(ids)
    assert ids in ([], ["a"])


def finish(scheduling: DeviceScheduling, worker: Worker) -> list[int]:
    ended = worker.finish()
    for index in ended:
        scheduling.mark_test_complete(worker, index)
    return ended


def test_no_more_devices_run_than_the_rollout_allows_however_many_workers_there_are():
    one, two = Worker(2), Worker(2)
    scheduling = started(one, two, policy=RolloutPolicy(max_concurrent=1))
    assert (one.device, two.device) == (0, None)
    finish(scheduling, one)
    assert sorted(worker.device for worker in (one, two) if worker.device is not None) == [1]


def test_what_a_failed_rollout_has_updated_is_sent_back_as_items_of_their_own():
    worker = Worker(2)
    gradual = RolloutPolicy(max_concurrent=1, waves=(WaveSize(devices=1),), success_threshold=100)
    scheduling = started(worker, policy=gradual, failing="B")
    ended = [finish(scheduling, worker) for _ in range(3)]
    assert [index for indices in ended for index in indices if index != 4] == [0, 1, 2]  # A, B, A's restore
    assert scheduling.tests_finished


def test_the_item_of_a_worker_that_dies_while_restoring_is_the_restore():
    worker, other = Worker(2), Worker(2)
    gradual = RolloutPolicy(max_concurrent=1, waves=(WaveSize(devices=1),), success_threshold=100)
    scheduling = started(worker, policy=gradual, failing="B")
    finish(scheduling, worker)
    finish(scheduling, worker)
    assert worker.device == 2
    crashed = scheduling.remove_node(worker)
    assert crashed == "batch.yaml::restore[A]"
    scheduling.mark_test_pending(crashed)
    scheduling.add_node(other)
    scheduling.add_node_collection(other, IDS)
    scheduling.schedule()
    assert scheduling.tests_finished


def test_items_that_are_no_devices_run_first_and_count_in_no_wave():
    worker = Worker(1, others=1)
    scheduling = DeviceScheduling(Pilot(ALL_AT_ONCE))
    scheduling.add_node(worker)
    scheduling.add_node_collection(worker, ["test_lab.py::test_power", "batch.yaml::test_flash[A]"])
    scheduling.schedule()
    assert worker.device == 0
    finish(scheduling, worker)
    assert worker.device == 1
    finish(scheduling, worker)
    assert scheduling.tests_finished


def test_the_heartbeat_is_passed_on():
    scheduling = started(Worker(2))
    scheduling.remove_pending_tests_from_node(Worker(2), ())
    assert scheduling._pilot.beats == 1
