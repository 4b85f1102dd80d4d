"""Folding a journal: any part of one gives a record that can be reported, and never a better one than the truth."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.journal import Event, Kind, parse, read
from harness.record import (
    WRITING_PHASES,
    DeviceRecord,
    ErrorRecord,
    Outcome,
    Phase,
    PhaseOutcome,
    fold,
    settle,
)
from tests.harness.builders import (
    BAD,
    LOST,
    Story,
    emergency,
    retried,
    rolled_back,
    run_of,
    unchanged,
    untouched,
    updated,
)

BLANK = DeviceRecord("ESP32_001", "esp32", "/dev/ttyUSB1", "1.2.0")
STORIES: dict[Outcome, Callable[[Path], Story]] = {
    Outcome.UPDATED: updated,
    Outcome.UNCHANGED: unchanged,
    Outcome.ROLLED_BACK: rolled_back,
    Outcome.UNTOUCHED: untouched,
    Outcome.EMERGENCY: emergency,
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=6,
)
FIELDS = st.dictionaries(
    st.sampled_from(
        [
            "phase",
            "attempt",
            "outcome",
            "error",
            "which",
            "version",
            "number",
            "baud",
            "wait_s",
            "done",
            "total",
            "text",
        ]
    ),
    JSON | st.sampled_from([*Phase, *Outcome, *PhaseOutcome]),
)


@pytest.mark.parametrize("outcome", STORIES)
def test_a_whole_journal_tells_the_outcome(outcome: Outcome, tmp_path: Path) -> None:
    assert STORIES[outcome](tmp_path).record().outcome is outcome


def test_attempts_keep_their_errors_and_pauses(tmp_path: Path) -> None:
    first, second = retried(tmp_path).record().attempts

    assert (first.baud, first.error, first.wait_s) == (921600, LOST, 2.0)
    assert (second.baud, second.error) == (460800, None)


def test_the_time_of_a_phase_is_that_of_all_its_attempts(tmp_path: Path) -> None:
    record = retried(tmp_path).record()

    assert record.phase_seconds(Phase.FLASH) == pytest.approx(23.0, abs=1e-3)
    assert record.phase_seconds(Phase.ROLLBACK) is None


@pytest.mark.parametrize("outcome", STORIES)
def test_a_journal_cut_anywhere_settles_without_claiming_more_than_is_known(outcome: Outcome, tmp_path: Path) -> None:
    data = STORIES[outcome](tmp_path).path.read_bytes()
    for cut in range(len(data) - len("}\n")):
        events = list(parse(data[:cut]))
        device = settle(fold(BLANK, events), "its worker process died", at=2e9)
        started = {event.data["phase"] for event in events if event.kind is Kind.PHASE_STARTED}
        skipped = [p for p in device.phases if p.outcome is PhaseOutcome.SKIPPED]

        assert device.outcome is not Outcome.RUNNING
        assert not device.outcome.succeeded, "only its last line says that a device is good"
        if device.outcome is Outcome.UNTOUCHED:
            assert not started & WRITING_PHASES or skipped


def test_a_device_that_died_before_its_flash_phase_is_untouched_and_one_within_it_is_an_emergency(
    tmp_path: Path,
) -> None:
    before = Story(tmp_path, "A").starts().attempt().identified().phase_starts(Phase.BACKUP)
    within = Story(tmp_path, "B").starts().attempt().identified().phase_starts(Phase.FLASH)

    assert settle(before.record(), "its worker process died").outcome is Outcome.UNTOUCHED
    assert settle(within.record(), "its worker process died").outcome is Outcome.EMERGENCY
    assert settle(within.record(), "its worker process died").reason == "its worker process died during flash"
    quarantined = "in quarantine: its worker process died during flash; when it is mended: …"
    assert settle(within.record(), quarantined).reason == quarantined


def test_a_flash_phase_that_had_nothing_to_write_touched_nothing(tmp_path: Path) -> None:
    story = Story(tmp_path).starts().attempt().identified().phase(Phase.FLASH, outcome=PhaseOutcome.SKIPPED)

    assert settle(story.phase_starts(Phase.VERIFY).record(), "its worker died").outcome is Outcome.UNTOUCHED


@pytest.mark.parametrize("outcome", STORIES)
def test_settling_changes_nothing_of_a_device_that_had_its_last_word(outcome: Outcome, tmp_path: Path) -> None:
    record = STORIES[outcome](tmp_path).record()

    assert settle(record, "the run was interrupted") == record


def test_a_device_that_never_began_did_not_run_and_says_why() -> None:
    settled = settle(BLANK, "the run was interrupted")

    assert (settled.outcome, settled.reason) == (Outcome.NOT_RUN, "the run was interrupted")


def test_the_end_of_a_rollback_whose_start_is_lost_does_not_turn_the_failed_phase_green(tmp_path: Path) -> None:
    story = Story(tmp_path).starts().attempt().identified().flashed().phase(Phase.VERIFY, error=BAD)
    record = story.phase_ends(Phase.ROLLBACK).record()

    assert [(p.phase, p.outcome) for p in record.phases[-2:]] == [
        (Phase.VERIFY, PhaseOutcome.FAILED),
        (Phase.ROLLBACK, PhaseOutcome.PASSED),
    ]


def test_progress_after_the_end_of_a_phase_is_not_its(tmp_path: Path) -> None:
    story = Story(tmp_path).starts().attempt().phase(Phase.IDENTIFY).tell(Kind.PROGRESS, done=1, total=2)

    assert story.record().phases[-1].total == 0


def test_a_retry_whose_attempt_is_lost_is_passed_over(tmp_path: Path) -> None:
    assert Story(tmp_path).starts().retries().record().attempts == ()


@given(st.lists(st.builds(Event, st.floats(0, 1e10), st.sampled_from(Kind), FIELDS), max_size=12))
def test_no_event_at_all_makes_folding_or_settling_fail(events: list[Event]) -> None:
    device = settle(fold(BLANK, events), "the run ended before it")

    assert device.outcome is not Outcome.RUNNING


@given(data=st.data())
def test_folding_in_parts_is_folding_at_once(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    events = read(retried(tmp_path_factory.mktemp("journal")).path)
    at = data.draw(st.integers(0, len(events)))

    assert fold(fold(BLANK, events[:at]), events[at:]) == fold(BLANK, events)


def test_an_error_survives_json() -> None:
    text: dict[str, Any] = json.loads(json.dumps(BAD.as_json()))

    assert ErrorRecord.from_json(text) == BAD
    assert ErrorRecord.from_json(replace(BAD, phase=None).as_json()).phase is None


def test_a_run_names_its_emergencies(tmp_path: Path) -> None:
    run = run_of([updated(tmp_path).record(), emergency(tmp_path).record()])

    assert [device.device_id for device in run.emergencies] == ["ESP32_006"]
