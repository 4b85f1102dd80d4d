"""How many boards are on what: every board is told once, and no version is guessed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.record import DeviceRecord, Outcome, Phase, PhaseOutcome, PhaseRecord, RunRecord
from harness.report.firmware import Certainty, on_what, shares
from tests.harness.builders import (
    LOST,
    Story,
    not_run,
    restored,
    rolled_back,
    run_of,
    unchanged,
    untouched,
    updated,
)

VERSIONS = st.one_of(st.none(), st.sampled_from(["1.0.0", "1.1.0", "1.2.0"]))
PHASES = st.lists(
    st.builds(PhaseRecord, st.sampled_from(Phase), st.just(1), st.just(0.0), outcome=st.sampled_from(PhaseOutcome)),
    max_size=3,
).map(tuple)
DEVICES = st.lists(
    st.builds(
        DeviceRecord,
        st.uuids().map(str),
        st.just("esp32"),
        st.just("p"),
        wanted_version=st.sampled_from([None, "1.2.0"]),
        outcome=st.sampled_from(Outcome),
        version_before=VERSIONS,
        version_after=VERSIONS,
        phases=PHASES,
        known=st.sampled_from(Outcome),
    ),
    max_size=12,
)


@given(DEVICES)
def test_every_board_is_counted_once_whatever_became_of_it(devices: list[DeviceRecord]) -> None:
    told = shares(run_of(devices))

    assert sum(share.count for share in told) == len(devices)
    assert all((share.version is not None) == (share.certainty is Certainty.KNOWN) for share in told)


@given(DEVICES)
def test_an_emergency_is_never_said_to_be_on_anything(devices: list[DeviceRecord]) -> None:
    known = [share for share in shares(run_of(devices)) if share.certainty is not Certainty.UNKNOWN]

    assert all(Outcome.EMERGENCY not in share.outcomes for share in known)


def test_boards_on_the_new_firmware_come_first_and_those_that_nobody_knows_of_last(run: RunRecord) -> None:
    assert [(share.version, share.certainty, share.count) for share in shares(run)] == [
        ("1.2.0", Certainty.KNOWN, 3),
        ("1.1.0", Certainty.KNOWN, 1),
        (None, Certainty.AS_BEFORE, 2),
        (None, Certainty.UNKNOWN, 2),
    ]


def test_a_run_in_which_all_went_well_is_one_share(tmp_path: Path) -> None:
    assert on_what(run_of([updated(tmp_path).record(), unchanged(tmp_path).record()])) == (
        "2 on 1.2.0 (1 updated, 1 unchanged)"
    )


def test_a_board_that_was_not_read_has_no_version(tmp_path: Path) -> None:
    assert on_what(run_of([not_run()])) == "1 on the firmware that it had (not run)"
    assert on_what(run_of([untouched(tmp_path).record()])) == "1 on the firmware that it had (untouched)"


@pytest.mark.parametrize("story", [rolled_back, restored])
def test_a_board_that_was_put_back_is_on_what_was_read_of_it(story: Callable[[Path], Story], tmp_path: Path) -> None:
    device = story(tmp_path).record()

    assert shares(run_of([device]))[0].version == "1.1.0"
    assert shares(run_of([replace(device, version_before=None)]))[0].version == "1.1.0"
    # on a full disk its last word may be the one of the new firmware
    unread = replace(device, version_before=None, version_after="1.2.0")
    assert shares(run_of([unread]))[0].certainty is Certainty.AS_BEFORE


def test_a_board_that_is_being_written_is_unknown_and_one_that_is_not_yet_is_not(tmp_path: Path) -> None:
    begun = Story(tmp_path, "A1").starts().attempt().identified()
    written = Story(tmp_path, "A2").starts().attempt().identified().phase_starts(Phase.FLASH)
    reached_for = updated(tmp_path, "A3").begins_again(restoring=True)
    run = run_of([story.record() for story in (begun, written, reached_for)])

    assert on_what(run) == "1 on 1.2.0 (running), 1 on 1.1.0 (running), 1 unknown (running)"


def test_no_devices_are_no_boards() -> None:
    assert on_what(run_of([])) == "no boards"


def test_a_board_whose_restore_went_wrong_is_unknown(tmp_path: Path) -> None:
    story = updated(tmp_path).begins_again(restoring=True).phase(Phase.ROLLBACK, error=LOST)

    assert on_what(run_of([story.ends(Outcome.EMERGENCY, LOST).record()])) == "1 unknown (EMERGENCY)"
