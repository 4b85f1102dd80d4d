"""The run in one sentence: the worst first, and nothing that the record does not hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.record import DeviceRecord, Outcome, RunRecord
from harness.report.conclusion import Mood, is_unfinished, mood, sentence
from harness.rollout.state import GroupState, GroupStatus, RolloutState, Verdict, WaveStatus
from tests.harness.builders import not_restored, not_run, restored, rolled_back, run_of, updated
from tests.harness.report.rollouts import flash_time, halted_rollout, passed_rollout, rate

DEVICES = st.lists(
    st.builds(DeviceRecord, st.uuids().map(str), st.just("t"), st.just("p"), outcome=st.sampled_from(Outcome)),
    max_size=6,
)
STATES = st.builds(
    RolloutState,
    gates=st.lists(st.sampled_from(Verdict).map(lambda verdict: rate(verdict, 3, 4)), max_size=2).map(tuple),
    halted=st.sampled_from(["", "a gate failed"]),
    restoring=st.booleans(),
)


@given(DEVICES, STATES)
def test_any_run_has_a_sentence(devices: list[DeviceRecord], state: RolloutState) -> None:
    assert sentence(run_of(devices, rollout=state))


@given(DEVICES, STATES)
def test_only_a_run_that_left_every_device_on_the_new_firmware_is_good(
    devices: list[DeviceRecord], state: RolloutState
) -> None:
    run = run_of(devices, rollout=state)

    if mood(run) is Mood.GOOD:
        assert all(device.outcome.succeeded for device in devices)
        assert not state.halted
        assert state.verdict is Verdict.PASSED


def test_a_run_without_trouble_says_what_all_are_on(tmp_path: Path) -> None:
    run = run_of([updated(tmp_path, f"A{n}").record() for n in range(8)])

    assert sentence(run) == "All 8 devices are on 1.2.0"
    assert mood(run) is Mood.GOOD


def test_a_rollout_in_waves_without_trouble_says_the_same(tmp_path: Path) -> None:
    run = passed_rollout(tmp_path)
    good = replace(run, devices=tuple(updated(tmp_path, f"A{n}").record() for n in range(6)))

    assert sentence(good) == "All 6 devices are on 1.2.0"


def test_an_unknown_state_comes_before_a_halt(tmp_path: Path, run: RunRecord) -> None:
    assert sentence(replace(run, rollout=halted_rollout(tmp_path).rollout)) == "2 boards of 8 in an UNKNOWN STATE"


def test_a_halted_rollout_says_where_and_what_became_of_its_boards(tmp_path: Path) -> None:
    run = halted_rollout(tmp_path)

    assert sentence(run) == "Halted in wave 3 of 4 and taken back: 2 of 40 devices failed, 10 restored, 28 did not run"
    assert mood(run) is Mood.BAD


def test_one_that_is_not_taken_back_says_how_many_are_on_the_new_firmware(tmp_path: Path) -> None:
    state = RolloutState(gates=(rate(Verdict.FAILED, 1, 2),), halted="min_success_rate failed")
    devices = [updated(tmp_path).record(), rolled_back(tmp_path).record(), not_run()]

    assert sentence(run_of(devices, rollout=state)) == "Halted: 1 of 3 devices failed, 1 on 1.2.0, 1 did not run"


def test_boards_that_could_not_be_taken_back_are_counted(tmp_path: Path) -> None:
    devices = [updated(tmp_path).record(), not_restored(tmp_path).record(), rolled_back(tmp_path).record()]
    run = run_of(devices, rollout=RolloutState(halted="min_success_rate failed"))

    assert sentence(run) == "Halted: 1 of 3 devices failed, 1 NOT taken back (on 1.2.0), 1 on 1.2.0"
    assert mood(run) is Mood.BAD


def test_a_gate_that_failed_when_all_had_their_turn_is_named(tmp_path: Path) -> None:
    state = RolloutState(gates=(flash_time(Verdict.FAILED, 70.0),), restoring=True)
    run = run_of([restored(tmp_path).record()], rollout=state)

    assert sentence(run) == "max_flash_time failed, taken back: 1 of 1 device restored"


def test_failures_within_the_gates_are_fair(tmp_path: Path) -> None:
    run = passed_rollout(tmp_path)

    assert sentence(run) == "1 of 6 devices failed and kept the firmware they had, which the gates allow"
    assert mood(run) is Mood.FAIR


def test_a_run_that_was_stopped_is_not_said_to_be_halted_by_a_gate(tmp_path: Path) -> None:
    why = "the run was stopped by Ctrl-C"
    run = run_of([updated(tmp_path).record(), not_run()], interrupted=why, rollout=RolloutState(halted=why))

    assert sentence(run) == "1 of 2 devices on 1.2.0; 1 did not run"
    assert mood(run) is Mood.BAD


@pytest.mark.parametrize("verdict", [Verdict.FAILED, Verdict.OPEN])
def test_all_devices_do_not_make_up_for_a_gate_that_did_not_pass(verdict: Verdict, tmp_path: Path) -> None:
    run = run_of([updated(tmp_path).record()], rollout=RolloutState(gates=(flash_time(verdict),)))

    assert mood(run) is Mood.BAD


def test_a_wave_that_was_cut_short_is_where_it_was_halted(tmp_path: Path) -> None:
    run = passed_rollout(tmp_path)
    waves = (run.rollout.waves[0], run.rollout.waves[1].model_copy(update={"status": WaveStatus.HALTED}))
    cut = replace(run, rollout=RolloutState(waves=waves, halted="the run was cancelled by root"))

    assert sentence(cut).startswith("Halted in wave 2 of 2: 1 of 6 devices failed, 5 on 1.2.0")


def test_nobody_is_told_to_go_on_with_boards_of_which_no_earlier_firmware_is_known(tmp_path: Path) -> None:
    story = updated(tmp_path).begins_again(restoring=True)
    kept = story.ends(Outcome.UPDATED, reason="not taken back: no earlier firmware of it is known").record()
    run = run_of([kept], rollout=RolloutState(failed="somebody ordered it back", restoring=True))

    assert not is_unfinished(run, restores=True)
    for another in (not_restored(tmp_path).record(), updated(tmp_path, "ESP32_003").record()):
        assert is_unfinished(replace(run, devices=(kept, another)), restores=True)
    assert is_unfinished(replace(run, interrupted="the run was stopped by SIGTERM"), restores=True)


def test_the_rest_of_a_group_that_was_given_up_can_be_run_once_the_group_is_mended() -> None:
    group = GroupState(name="hub-1", status=GroupStatus.GIVEN_UP, reason="3 errors in a row [connection]")
    run = run_of([not_run(reason="group hub-1 was given up")], rollout=RolloutState(groups=(group,)))

    assert is_unfinished(run, restores=True)
    assert not is_unfinished(run_of([not_run(reason="in quarantine")]), restores=True)
