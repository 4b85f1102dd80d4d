"""Which devices may start, wave by wave; what a failed gate and a halt do."""

from __future__ import annotations

import pytest

from harness.rollout.gates import Result
from harness.rollout.policy import Gates, Group, RolloutPolicy, WaveSize
from harness.rollout.state import RolloutState, Verdict, WaveStatus
from harness.rollout.waves import Action, Note, Rollout, Start
from tests.harness.rollout.fleet import FAILED, UPDATED, Fleet, failing, names
from tests.harness.rollout.test_sizes import wave_sizes

UP_TO_DATE = Result(succeeded=True)
SKIPPED = Result(succeeded=False, ran=False)


def gradual(*sizes: int | str, **others) -> RolloutPolicy:
    settings = {"max_concurrent": 100, "waves": wave_sizes(*sizes), "success_threshold": 90.0}
    return RolloutPolicy(**{**settings, **others})


def statuses(fleet: Fleet) -> list[WaveStatus]:
    return [wave.status for wave in fleet.rollout.state().waves]


# Strategies and limits


def test_parallel_starts_as_many_as_it_may_and_the_next_as_one_ends():
    fleet = Fleet(RolloutPolicy(max_concurrent=3), names(5))
    assert fleet.start() == ["d0", "d1", "d2"]
    fleet.end()
    assert fleet.start() == ["d3"]


def test_sequential_runs_one_after_the_other_whatever_fails():
    fleet = Fleet(RolloutPolicy(max_concurrent=1), names(4), lambda _: FAILED)
    while not fleet.rollout.finished:
        assert len(fleet.start()) == 1
        fleet.end()
    assert fleet.updates() == names(4)
    assert fleet.restores() == []


def test_gradual_runs_five_and_then_the_next_five():
    fleet = Fleet(gradual(5), names(12))
    assert fleet.start() == names(12)[:5]
    assert fleet.rollout.reason("d5") == "it waits for wave 1"
    for _ in range(4):
        fleet.end()
        assert fleet.start() == []
    fleet.end()
    assert fleet.start() == names(12)[5:10]
    fleet.finish()
    assert fleet.updates() == names(12)
    assert statuses(fleet) == [WaveStatus.PASSED] * 3


def test_waves_of_1_5_10_50_and_100_percent_of_100_devices_all_pass_in_order():
    fleet = Fleet(gradual(1, 5, "10%", "50%", "100%"), names(100))
    fleet.finish()
    assert fleet.updates() == names(100)
    assert [len(wave.devices) for wave in fleet.rollout.state().waves] == [1, 5, 10, 50, 34]
    assert fleet.rollout.state().verdict is Verdict.PASSED


def test_a_group_is_never_worked_on_more_often_at_once_than_it_may():
    hub = Group(name="hub-1", max_concurrent=2, devices=("d0", "d1", "d2", "d3"))
    fleet = Fleet(RolloutPolicy(max_concurrent=4, groups=(hub,)), names(8))
    assert fleet.start() == ["d0", "d1", "d4", "d5"]
    fleet.end()
    assert fleet.start() == ["d2"]


def test_500_devices_on_8_workers_all_end():
    fleet = Fleet(gradual(1, "2%", "10%", max_concurrent=500, soak_s=5), names(500))
    fleet.finish()
    assert fleet.updates() == names(500)
    assert fleet.rollout.state().verdict is Verdict.PASSED


def test_a_rollout_of_nobody_is_finished():
    assert Rollout(gradual(5), []).finished


def test_devices_that_are_not_to_be_run_are_in_no_wave_and_no_share():
    fleet = Fleet(gradual("50%"), names(5), excluded={"d0": "in quarantine: brown-outs"})
    fleet.finish()
    assert [wave.devices for wave in fleet.rollout.state().waves] == [("d1", "d2"), ("d3", "d4")]
    assert fleet.rollout.reason("d0") == "in quarantine: brown-outs"
    assert fleet.rollout.reason("d9") == "it is not among the devices of the rollout"


# Gates


def test_with_one_wave_all_devices_run_before_a_failed_gate_takes_them_back():
    policy = RolloutPolicy(max_concurrent=1, gates=Gates(min_success_rate=80))
    fleet = Fleet(policy, names(6), failing("d0", "d1", "d2"))
    fleet.finish()
    assert fleet.updates() == names(6)
    assert fleet.restores() == ["d5", "d4", "d3"]
    state = fleet.rollout.state()
    assert (state.halted, state.restoring, state.waves[0].status) == ("", True, WaveStatus.FAILED)


def test_with_stop_early_the_third_failure_of_10_with_80_percent_wanted_starts_nothing_more():
    policy = RolloutPolicy(max_concurrent=1, gates=Gates(min_success_rate=80), stop_early=True)
    fleet = Fleet(policy, names(10), failing("d1", "d3", "d4"))
    fleet.finish()
    assert fleet.updates() == ["d0", "d1", "d2", "d3", "d4"]
    assert fleet.restores() == ["d2", "d0"]
    assert fleet.rollout.reason("d5") == fleet.rollout.state().halted
    assert fleet.rollout.state().halted == (
        "wave 1 failed: min_success_rate: 40 %, at least 80 % wanted (2 of 5 devices, 3 failed, 5 not ended)"
    )


def test_a_gate_that_fails_lets_run_what_is_running_and_then_restores():
    fleet = Fleet(gradual(4), names(8), failing("d0"))
    fleet.start()
    fleet.end()
    assert statuses(fleet) == [WaveStatus.FAILED, WaveStatus.WAITING]
    assert fleet.rollout.state().waves[0].ended is None
    for _ in range(3):
        assert fleet.start() == []
        fleet.end()
    assert fleet.rollout.state().waves[0].ended == fleet.now
    fleet.finish()
    assert fleet.restores() == ["d3", "d2", "d1"]


def test_newer_waves_are_restored_first_and_of_a_wave_the_last_started_first():
    fleet = Fleet(gradual(2, 3), names(8), failing("d7"))
    fleet.finish()
    assert fleet.restores() == ["d6", "d5", "d4", "d3", "d2", "d1", "d0"]


def test_a_board_of_a_newer_wave_goes_first_although_it_was_recovered_before_all_others():
    fleet = Fleet(gradual(3), names(6), failing("d3"), recover=frozenset({"d5"}))
    fleet.finish()
    assert fleet.updates() == ["d5", "d0", "d1", "d2", "d3", "d4"]
    assert fleet.restores() == ["d4", "d5", "d2", "d1", "d0"]


def test_a_board_whose_worker_died_counts_from_its_last_start():
    fleet = Fleet(gradual(4, max_concurrent=2), names(4), failing("d3"))
    fleet.start()
    fleet.running.popleft()
    fleet.rollout.lost("d0", fleet.now, is_written=True)
    fleet.finish()
    assert fleet.updates() == ["d0", "d1", "d0", "d2", "d3"]
    assert fleet.restores() == ["d2", "d0", "d1"]


def test_only_boards_that_this_run_wrote_and_that_hold_the_new_firmware_are_restored():
    fates = {"d1": UP_TO_DATE, "d3": FAILED}
    fleet = Fleet(gradual(4), names(4), lambda device_id: fates.get(device_id, UPDATED))
    fleet.finish()
    assert fleet.restores() == ["d2", "d0"]


def test_restores_keep_to_the_limits():
    hub = Group(name="hub-1", max_concurrent=1, devices=tuple(names(3)))
    fleet = Fleet(gradual(6, max_concurrent=3, groups=(hub,)), names(6), failing("d5"))
    while not fleet.restores():
        fleet.step()
        fleet.start()
    assert [start.device_id for start in fleet.running] == ["d2", "d4", "d3"]
    fleet.end()
    assert fleet.start() == ["d1"]
    fleet.end()
    assert fleet.start() == []


def test_without_restore_a_failed_gate_leaves_the_boards_on_the_new_firmware():
    fleet = Fleet(gradual(4, restore=False), names(8), failing("d0"))
    fleet.finish()
    assert fleet.restores() == []
    assert not fleet.rollout.state().restoring


def test_a_gate_of_the_batch_halts_a_wave_whose_own_gates_hold():
    policy = RolloutPolicy(max_concurrent=1, waves=wave_sizes(1, 9), gates=Gates(max_flash_time=60))
    recovered = Result(succeeded=True, restorable=True, flash_s=99)
    rollout = Rollout(policy, names(10), recover=frozenset({"d9"}))
    rollout.started(rollout.ready(0)[0], 0)
    rollout.ended("d9", recovered, 1)
    state = rollout.state()
    assert [wave.status for wave in state.waves] == [WaveStatus.HALTED, WaveStatus.WAITING]
    assert state.halted == "the batch failed: max_flash_time: 99 s, at most 60 s allowed (slowest: d9)"
    assert rollout.ready(1) == (Start("d9", Action.RESTORE),)


def test_a_wave_whose_devices_were_all_skipped_does_not_open_the_next():
    fleet = Fleet(gradual(1, 5), names(6), failing("d0", result=SKIPPED))
    fleet.finish()
    assert statuses(fleet) == [WaveStatus.HALTED, WaveStatus.WAITING]
    assert fleet.rollout.reason("d1") == "wave 1 could not be judged: none of its devices ran"


def test_the_last_wave_with_nothing_to_judge_halts_nobody():
    fleet = Fleet(RolloutPolicy(max_concurrent=1, gates=Gates(min_success_rate=80)), names(2), lambda _: SKIPPED)
    fleet.finish()
    state = fleet.rollout.state()
    assert (state.halted, state.verdict, state.waves[0].status) == ("", Verdict.OPEN, WaveStatus.HALTED)


# Between waves


def test_the_next_wave_waits_until_its_soak_is_over():
    fleet = Fleet(gradual(2, soak_s=600), names(4))
    fleet.work()
    assert statuses(fleet)[0] is WaveStatus.SOAKING
    assert fleet.rollout.state().waves[0].until == fleet.now + 600
    assert fleet.rollout.awaits_time
    assert fleet.rollout.reason("d2") == "it waits until wave 1 has soaked"
    assert fleet.rollout.ready(fleet.now + 599) == ()
    assert len(fleet.rollout.ready(fleet.now + 600)) == 2


def test_the_next_wave_waits_for_a_person():
    fleet = Fleet(gradual(2, approve=True), names(4))
    fleet.work()
    assert statuses(fleet)[0] is WaveStatus.AWAITING_APPROVAL
    assert fleet.start() == []
    assert fleet.rollout.reason("d2") == "it waits for an approval"
    fleet.rollout.approve(fleet.now)
    assert fleet.start() == ["d2", "d3"]


def test_an_approval_that_comes_early_counts_for_the_next_wait_and_for_that_only():
    fleet = Fleet(gradual(2, approve=True, soak_s=10), names(6))
    fleet.start()
    fleet.rollout.approve(fleet.now)
    fleet.work()
    assert statuses(fleet)[0] is WaveStatus.SOAKING
    fleet.now += 10
    fleet.work()
    fleet.now += 10
    fleet.work()
    assert fleet.updates() == names(4)
    assert statuses(fleet) == [WaveStatus.PASSED, WaveStatus.AWAITING_APPROVAL, WaveStatus.WAITING]


def test_an_approval_that_is_there_before_anybody_heard_that_it_is_late_counts():
    fleet = Fleet(gradual(2, approve=True, approval_timeout_s=100), names(4))
    fleet.work()
    fleet.now += 101
    fleet.rollout.approve(fleet.now)
    assert fleet.start() == ["d2", "d3"]


def test_an_approval_that_does_not_come_halts_and_restores_nobody():
    fleet = Fleet(gradual(2, approve=True, approval_timeout_s=100), names(4))
    fleet.finish()
    assert fleet.restores() == []
    state = fleet.rollout.state()
    assert [wave.status for wave in state.waves] == [WaveStatus.PASSED, WaveStatus.WAITING]
    assert state.halted == fleet.rollout.reason("d2") == "wave 2 was not approved within 100 s"
    fleet.rollout.approve(fleet.now)
    assert fleet.start() == []
    assert fleet.notes()[-1] == "the approval changes nothing: no wave will wait for one"


# Halts and dead workers


def test_a_halt_starts_nothing_more_and_lets_run_what_is_running():
    fleet = Fleet(gradual(4, max_concurrent=2), names(8))
    fleet.start()
    fleet.rollout.halt("Ctrl-C", 5)
    assert not fleet.rollout.finished
    fleet.work()
    assert fleet.rollout.finished
    assert fleet.updates() == ["d0", "d1"]
    assert statuses(fleet) == [WaveStatus.HALTED, WaveStatus.WAITING]
    assert fleet.rollout.state().waves[0].ended == fleet.now
    assert fleet.rollout.reason("d2") == fleet.rollout.reason("d7") == "Ctrl-C"


def test_a_halt_starts_no_restores_either():
    fleet = Fleet(gradual(4, max_concurrent=1), names(4), failing("d3"))
    while not fleet.restores():
        fleet.step()
        fleet.start()
    fleet.rollout.halt("SIGTERM", fleet.now)
    fleet.work()
    assert fleet.restores() == ["d2"]
    assert fleet.rollout.finished


def test_a_gate_that_fails_after_a_halt_takes_nothing_back():
    policy = RolloutPolicy(max_concurrent=2, gates=Gates(min_success_rate=80))
    fleet = Fleet(policy, names(2), failing("d1"))
    fleet.start()
    fleet.rollout.halt("Ctrl-C", fleet.now)
    fleet.work()
    assert fleet.restores() == []
    assert not fleet.rollout.state().restoring
    assert fleet.notes() == ["halted: Ctrl-C"]


def test_a_gate_that_had_failed_takes_nothing_back_after_a_halt():
    fleet = Fleet(gradual(4), names(8), failing("d0"))
    fleet.start()
    fleet.end()
    fleet.rollout.halt("Ctrl-C", fleet.now)
    fleet.work()
    assert fleet.restores() == []
    assert not fleet.rollout.state().restoring
    assert fleet.rollout.state().waves[0].status is WaveStatus.FAILED


def test_the_first_reason_of_a_halt_is_kept():
    rollout = Rollout(gradual(4), names(4))
    rollout.halt("Ctrl-C", 0)
    rollout.halt("SIGTERM", 0)
    assert rollout.state().halted == "Ctrl-C"


def test_a_halt_during_the_soak_leaves_the_wave_passed():
    fleet = Fleet(gradual(2, soak_s=600), names(4))
    fleet.work()
    fleet.rollout.halt("Ctrl-C", fleet.now)
    assert statuses(fleet) == [WaveStatus.PASSED, WaveStatus.WAITING]
    assert fleet.rollout.finished


def test_a_rollout_that_is_finished_can_not_be_halted():
    fleet = Fleet(gradual(4), names(4))
    fleet.finish()
    fleet.rollout.halt("Ctrl-C", fleet.now)
    assert fleet.rollout.state().halted == ""


def test_a_device_whose_worker_died_starts_again_before_others():
    fleet = Fleet(gradual(8, max_concurrent=2), names(8))
    fleet.start()
    fleet.running.popleft()
    fleet.rollout.lost("d0", fleet.now, is_written=True)
    assert fleet.start() == ["d0"]
    fleet.finish()
    assert fleet.rollout.state().verdict is Verdict.PASSED


def test_a_device_whose_worker_died_starts_before_others_that_were_cut_short():
    fleet = Fleet(RolloutPolicy(max_concurrent=1), names(6), recover=frozenset({"d4", "d5"}))
    assert fleet.start() == ["d4"]
    fleet.running.popleft()
    fleet.rollout.lost("d4", fleet.now, is_written=True)
    assert fleet.start() == ["d4"]


def test_a_device_whose_worker_died_is_run_again_although_a_gate_has_failed():
    fleet = Fleet(gradual(4), names(8), failing("d1"))
    fleet.start()
    fleet.running.popleft()
    fleet.end()
    fleet.rollout.lost("d0", fleet.now, is_written=True)
    fleet.finish()
    assert fleet.updates() == ["d0", "d1", "d2", "d3", "d0"]
    assert fleet.restores() == ["d0", "d3", "d2"]


def test_a_device_whose_worker_died_before_anything_was_written_is_left_alone_once_a_gate_has_failed():
    fleet = Fleet(gradual(4), names(8), failing("d1"))
    fleet.start()
    fleet.running.popleft()
    fleet.end()
    fleet.rollout.lost("d0", fleet.now, is_written=False)
    fleet.finish()
    assert fleet.updates() == ["d0", "d1", "d2", "d3"]
    assert fleet.restores() == ["d3", "d2"]
    assert "wave 1 failed" in fleet.rollout.reason("d0")


def test_a_device_whose_worker_died_before_anything_was_written_starts_again_while_the_rollout_goes_on():
    fleet = Fleet(gradual(4, max_concurrent=2), names(4))
    fleet.start()
    fleet.running.popleft()
    fleet.rollout.lost("d0", fleet.now, is_written=False)
    assert fleet.start() == ["d0"]
    fleet.finish()
    assert fleet.rollout.state().verdict is Verdict.PASSED


def test_a_restore_whose_worker_died_is_started_again_before_others():
    fleet = Fleet(gradual(4, max_concurrent=1), names(4), failing("d3"))
    while not fleet.restores():
        fleet.step()
        fleet.start()
    fleet.rollout.lost(fleet.running.popleft().device_id, fleet.now, is_written=True)
    fleet.finish()
    assert fleet.restores() == ["d2", "d2", "d1", "d0"]


def test_what_was_not_to_be_started_and_what_is_not_going_on_is_refused():
    rollout = Rollout(gradual(2), names(2))
    rollout.ready(0)
    with pytest.raises(ValueError, match="d0"):
        rollout.ended("d0", UPDATED, 0)
    with pytest.raises(ValueError, match="d0"):
        rollout.lost("d0", 0, is_written=True)
    with pytest.raises(ValueError, match="d0"):
        rollout.started(Start("d0", Action.RESTORE), 0)
    with pytest.raises(ValueError, match="stranger"):
        rollout.started(Start("stranger", Action.UPDATE), 0)
    rollout.started(Start("d0", Action.UPDATE), 0)
    with pytest.raises(ValueError, match="d0"):
        rollout.started(Start("d0", Action.UPDATE), 0)
    with pytest.raises(ValueError, match="d0"):
        rollout.restore_ended("d0", 0)


# A run that is resumed


def test_what_was_being_written_starts_first_and_what_had_ended_is_not_run_again():
    fleet = Fleet(
        gradual(2, max_concurrent=2), names(6), done={"d0": UPDATED, "d1": UPDATED}, recover=frozenset({"d3"})
    )
    assert fleet.start() == ["d3", "d2"]
    fleet.finish()
    assert fleet.updates() == ["d3", "d2", "d4", "d5"]


def test_what_was_being_written_is_recovered_although_a_gate_had_failed_and_then_all_are_restored():
    fleet = Fleet(gradual(3), names(6), done={"d0": FAILED, "d1": UPDATED}, recover=frozenset({"d2"}))
    fleet.finish()
    assert fleet.updates() == ["d2"]
    assert fleet.restores() == ["d2", "d1"]


def test_what_was_being_written_is_recovered_although_the_wave_before_shows_nothing():
    fleet = Fleet(gradual(1), names(3), done={"d0": SKIPPED}, recover=frozenset({"d1"}))
    fleet.finish()
    assert fleet.updates() == ["d1"]
    assert fleet.rollout.reason("d2") == "wave 1 could not be judged: none of its devices ran"


def test_only_a_halt_keeps_it_from_being_recovered():
    rollout = Rollout(gradual(3), names(6), recover=frozenset({"d2"}))
    rollout.halt("Ctrl-C", 0)
    assert rollout.ready(0) == ()
    assert rollout.reason("d2") == "Ctrl-C"


def test_boards_that_had_been_restored_are_not_restored_again():
    done = {"d0": UPDATED, "d1": UPDATED, "d2": FAILED}
    fleet = Fleet(gradual(3), names(3), done=done, restored=frozenset({"d1"}))
    fleet.finish()
    assert fleet.restores() == ["d0"]
    assert fleet.rollout.state().restoring


def test_a_wave_that_had_begun_neither_soaks_nor_waits_for_approval_again_but_the_next_does():
    done = {"d0": UPDATED, "d1": UPDATED, "d2": UPDATED}
    fleet = Fleet(gradual(2, soak_s=10, approve=True), names(6), done=done)
    assert fleet.start() == ["d3"]
    fleet.work()
    assert statuses(fleet) == [WaveStatus.PASSED, WaveStatus.SOAKING, WaveStatus.WAITING]


def test_a_run_that_had_ended_does_nothing_more():
    fleet = Fleet(gradual(2, soak_s=10), names(4), done=dict.fromkeys(names(4), UPDATED))
    assert fleet.start() == []
    assert fleet.rollout.finished
    assert statuses(fleet) == [WaveStatus.PASSED] * 2


def stood(policy: RolloutPolicy, *failed: str) -> RolloutState:
    """Where a rollout of six stood when a gate had failed, before anything was taken back."""
    fleet = Fleet(policy, names(6), failing(*failed))
    while not fleet.rollout.state().failed:
        fleet.step()
    return fleet.rollout.state()


def test_a_rollout_that_a_gate_had_failed_updates_nobody_when_it_is_resumed_whatever_becomes_of_the_decider():
    policy = gradual(2)
    done = {"d0": UPDATED, "d1": UPDATED, "d2": UPDATED}
    fleet = Fleet(policy, names(6), done=done, recover=frozenset({"d3"}), before=stood(policy, "d3"))
    fleet.finish()
    assert fleet.updates() == ["d3"]
    assert fleet.restores() == ["d3", "d2", "d1", "d0"]
    assert fleet.rollout.state().verdict is Verdict.FAILED
    assert fleet.rollout.reason("d4").startswith("wave 2 failed: success_threshold")
    assert "no further device is updated: wave 2 failed" in fleet.notes()[0]


def test_one_that_had_failed_is_not_finished_before_the_rest_is_taken_back():
    policy = gradual(2)
    done = {"d0": UPDATED, "d1": UPDATED, "d2": UPDATED, "d3": FAILED}
    fleet = Fleet(policy, names(6), done=done, restored=frozenset({"d2"}), before=stood(policy, "d3"))
    assert not fleet.rollout.finished
    assert not fleet.rollout.awaits_time
    fleet.finish()
    assert fleet.updates() == []
    assert fleet.restores() == ["d1", "d0"]


def test_the_waves_of_one_that_had_failed_stay_as_they_stood():
    policy = gradual(2)
    before = stood(policy, "d3")
    fleet = Fleet(policy, names(6), done={"d2": UPDATED, "d3": FAILED}, excluded={"d0": "-k"}, before=before)
    state = fleet.rollout.state()
    assert [wave.devices for wave in state.waves] == [("d0", "d1"), ("d2", "d3"), ("d4", "d5")]
    assert fleet.rollout.reason("d0") == "-k"
    assert [wave.status for wave in state.waves] == [WaveStatus.PASSED, WaveStatus.FAILED, WaveStatus.WAITING]
    assert [wave.started for wave in state.waves] == [wave.started for wave in before.waves]


def test_waves_are_not_cut_anew_when_devices_are_left_out_of_a_resumed_run():
    policy = gradual(2)
    left_out = dict.fromkeys(["d1", "d2", "d3"], "-k")
    once = Rollout(policy, names(6), excluded=left_out, before=Rollout(policy, names(6)).state()).state()
    assert [wave.devices for wave in once.waves] == [("d0",), ("d4", "d5")]
    twice = Rollout(policy, names(6), before=once).state()
    assert [wave.devices for wave in twice.waves] == [("d0", "d1"), ("d2", "d3"), ("d4", "d5")]


def test_who_joins_a_resumed_run_is_in_its_last_wave():
    policy = gradual(2)
    before = Rollout(policy, names(6), excluded={"d0": "in quarantine"}).state()
    joined = Rollout(policy, names(6), before=before).state()
    assert [wave.devices for wave in joined.waves] == [("d1", "d2"), ("d3", "d4"), ("d5", "d0")]
    assert Rollout(policy, names(6), before=joined).state() == joined


# What is told


def test_a_rollout_tells_its_story():
    fleet = Fleet(gradual(1, 3, soak_s=10), names(8), failing("d2"))
    fleet.finish()
    assert fleet.notes() == [
        "wave 1 of 4 starts: 1 device",
        "wave 1 passed: 1 of 1 device",
        "wave 2 starts in 10 s at the earliest",
        "wave 2 of 4 starts: 3 devices",
        "wave 2 failed: success_threshold: 50 %, at least 90 % wanted (1 of 2 devices, 1 failed, 1 not ended)",
        "restoring 3 devices, newest wave first",
    ]
    assert fleet.notes() == []


def test_what_somebody_may_have_to_act_on_is_loud():
    rollout = Rollout(gradual(2), names(4))
    rollout.ready(0)
    rollout.halt("Ctrl-C", 0)
    assert rollout.notes() == (Note("wave 1 of 2 starts: 2 devices"), Note("halted: Ctrl-C", loud=True))


def test_a_rollout_in_one_wave_says_nothing_of_waves():
    fleet = Fleet(RolloutPolicy(max_concurrent=8), names(4))
    fleet.finish()
    assert fleet.notes() == []


def test_its_state_survives_the_journal():
    fleet = Fleet(gradual(1, 3, soak_s=10, gates=Gates(max_flash_time=60)), names(8), failing("d2"))
    fleet.finish()
    state = fleet.rollout.state()
    assert RolloutState.model_validate_json(state.model_dump_json()) == state


def test_a_wave_tells_when_it_started_and_ended():
    fleet = Fleet(gradual(2), names(4))
    fleet.finish()
    assert [(wave.started, wave.ended) for wave in fleet.rollout.state().waves] == [(0.0, 2.0), (2.0, 4.0)]


@pytest.mark.parametrize("size", [WaveSize(devices=5), WaveSize(percent=100)])
def test_an_only_wave_of_a_gradual_rollout_has_its_threshold_too(size):
    policy = RolloutPolicy(max_concurrent=5, waves=(size,), success_threshold=90, restore=False)
    fleet = Fleet(policy, names(5), failing("d0"))
    fleet.finish()
    assert fleet.rollout.state().verdict is Verdict.FAILED
