"""Repeated errors of one kind pause a group, not the fleet."""

from __future__ import annotations

import pytest

from harness.rollout.gates import Result
from harness.rollout.policy import Breaker, Gates, Group, RolloutPolicy, WaveSize
from harness.rollout.state import GroupStatus, Verdict, WaveStatus
from harness.rollout.waves import Action, Rollout, Start
from tests.harness.rollout.fleet import UPDATED, Fleet, names

NO_ANSWER = Result(succeeded=False, error_kind="connection")
SLOW = Result(succeeded=False, error_kind="timeout")
TEST_FAILED = Result(succeeded=False)
SKIPPED = Result(succeeded=False, ran=False)
HUB = ("d0", "d1", "d2", "d3", "d4", "d5")


def policy(**others) -> RolloutPolicy:
    settings = {
        "max_concurrent": 1,
        "groups": (Group(name="hub-1", max_concurrent=None, devices=HUB),),
        "breaker": Breaker(failures=3, pause_s=60),
    }
    return RolloutPolicy(**{**settings, **others})


def run(rollout: Rollout, *results: Result, now: float = 0.0) -> list[str]:
    """One device after the other; those that ran."""
    ran = []
    for result in results:
        start = rollout.ready(now)[0]
        rollout.started(start, now)
        rollout.ended(start.device_id, result, now)
        ran.append(start.device_id)
    return ran


def status(rollout: Rollout) -> GroupStatus | None:
    groups = rollout.state().groups
    return groups[0].status if groups else None


def test_so_many_errors_of_one_kind_in_a_row_pause_the_group_and_nobody_else():
    rollout = Rollout(policy(), names(8))
    assert run(rollout, *[NO_ANSWER] * 3, UPDATED, UPDATED) == ["d0", "d1", "d2", "d6", "d7"]
    (group,) = rollout.state().groups
    assert (group.status, group.until, group.reason) == (GroupStatus.PAUSED, 60, "3 errors in a row [connection]")
    assert rollout.ready(59) == ()
    assert rollout.awaits_time
    assert rollout.reason("d3") == "group hub-1 is paused: 3 errors in a row [connection]"


@pytest.mark.parametrize("between", [UPDATED, SLOW, TEST_FAILED])
def test_a_success_an_error_of_another_kind_and_a_failure_of_no_kind_end_the_row(between):
    rollout = Rollout(policy(), names(6))
    run(rollout, NO_ANSWER, NO_ANSWER, between, NO_ANSWER, NO_ANSWER)
    assert status(rollout) is None


def test_failures_of_no_kind_pause_nobody():
    rollout = Rollout(policy(), names(6))
    run(rollout, *[TEST_FAILED] * 6)
    assert rollout.state().groups == ()


def test_a_device_that_was_skipped_says_nothing_of_its_group():
    rollout = Rollout(policy(), names(6))
    run(rollout, NO_ANSWER, SKIPPED, NO_ANSWER, SKIPPED, NO_ANSWER)
    assert status(rollout) is GroupStatus.PAUSED


def test_after_the_pause_one_device_is_tried_and_its_success_opens_the_group():
    rollout = Rollout(policy(max_concurrent=8), names(6))
    run(rollout, *[NO_ANSWER] * 3)
    (trial,) = rollout.ready(60)
    assert status(rollout) is GroupStatus.TRYING
    rollout.started(trial, 60)
    assert rollout.ready(60) == ()
    rollout.ended(trial.device_id, UPDATED, 61)
    assert status(rollout) is None
    assert [start.device_id for start in rollout.ready(61)] == ["d4", "d5"]


@pytest.mark.parametrize("failure", [NO_ANSWER, SLOW, TEST_FAILED])
def test_its_failure_of_any_kind_gives_the_group_up_and_the_rest_of_it_is_not_run(failure):
    rollout = Rollout(policy(), names(8))
    run(rollout, *[NO_ANSWER] * 3)
    assert run(rollout, failure, UPDATED, UPDATED, now=60) == ["d3", "d6", "d7"]
    assert rollout.finished
    assert status(rollout) is GroupStatus.GIVEN_UP
    assert rollout.reason("d4") == (
        "group hub-1 was given up: 3 errors in a row [connection], and after the pause d3 failed too"
    )


def test_a_trial_that_was_skipped_lets_the_next_device_be_tried():
    rollout = Rollout(policy(), names(6))
    run(rollout, *[NO_ANSWER] * 3)
    assert run(rollout, SKIPPED, UPDATED, now=60) == ["d3", "d4"]
    assert status(rollout) is None


def test_a_trial_whose_worker_died_is_tried_again_and_nobody_else_meanwhile():
    rollout = Rollout(policy(max_concurrent=8), names(6))
    run(rollout, *[NO_ANSWER] * 3)
    (trial,) = rollout.ready(60)
    rollout.started(trial, 60)
    rollout.lost("d3", 61, is_written=True)
    assert rollout.ready(61) == (trial,)


def test_what_was_running_when_the_group_was_paused_says_nothing_of_the_time_after():
    rollout = Rollout(policy(max_concurrent=4), names(6))
    for start in rollout.ready(0):
        rollout.started(start, 0)
    for device_id in ("d0", "d1", "d2"):
        rollout.ended(device_id, NO_ANSWER, 1)
    rollout.ended("d3", UPDATED, 2)
    assert status(rollout) is GroupStatus.PAUSED


def test_a_device_in_two_groups_is_held_by_either():
    groups = (
        Group(name="hub-1", max_concurrent=None, devices=("d0", "d1", "d2", "d3")),
        Group(name="rack", max_concurrent=None, devices=("d3", "d4")),
    )
    rollout = Rollout(policy(groups=groups), names(5))
    assert run(rollout, *[NO_ANSWER] * 3, UPDATED) == ["d0", "d1", "d2", "d4"]


def test_devices_of_a_group_that_was_given_up_are_counted_by_no_gate():
    fleet = Fleet(
        policy(gates=Gates(min_success_rate=50), max_concurrent=1),
        names(10),
        lambda device_id: NO_ANSWER if device_id in HUB else UPDATED,
    )
    fleet.finish()
    assert [gate.detail for gate in fleet.rollout.state().gates] == ["4 of 8 devices, 4 failed"]
    assert fleet.rollout.state().verdict is Verdict.PASSED
    assert "not run, and counted by no gate: 2 devices of group hub-1" in fleet.notes()


def test_a_wave_of_which_nobody_is_left_does_not_open_the_next():
    fleet = Fleet(
        policy(waves=(WaveSize(devices=4), WaveSize(devices=2)), max_concurrent=1, success_threshold=0),
        names(8),
        lambda device_id: NO_ANSWER if device_id in HUB else UPDATED,
    )
    fleet.finish()
    state = fleet.rollout.state()
    assert [wave.status for wave in state.waves] == [WaveStatus.PASSED, WaveStatus.HALTED, WaveStatus.WAITING]
    assert state.halted == fleet.rollout.reason("d6") == "wave 2 could not be judged: none of its devices ran"
    assert fleet.rollout.reason("d5").startswith("group hub-1 was given up")


def test_boards_are_restored_whatever_their_group_s_breaker_says():
    fleet = Fleet(
        policy(gates=Gates(min_success_rate=90), breaker=Breaker(failures=2, pause_s=60)),
        names(4),
        lambda device_id: UPDATED if device_id in ("d0", "d1") else NO_ANSWER,
    )
    fleet.finish()
    assert status(fleet.rollout) is GroupStatus.PAUSED
    assert fleet.restores() == ["d1", "d0"]


def test_a_board_that_was_cut_short_is_recovered_although_its_group_is_paused():
    rollout = Rollout(policy(max_concurrent=4), names(6))
    for start in rollout.ready(0):
        rollout.started(start, 0)
    for device_id in ("d0", "d1", "d2"):
        rollout.ended(device_id, NO_ANSWER, 1)
    rollout.lost("d3", 2, is_written=True)
    assert rollout.ready(2) == (Start("d3", Action.UPDATE),)
