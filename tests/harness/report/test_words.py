"""How the reports speak: nothing from a board steers a terminal, and numbers can be read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.record import Outcome
from harness.report import words
from tests.harness.builders import EPOCH, restored

ANY_TEXT = st.text(st.characters(exclude_categories=()))


@given(ANY_TEXT)
def test_printable_text_has_no_control_characters_and_can_be_encoded(text: str) -> None:
    shown = words.printable(text)

    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", shown)
    assert shown.encode("utf-8").decode("utf-8") == shown


@given(st.text(st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="\ufffe\uffff")))
def test_text_without_them_stays_as_it_is(text: str) -> None:
    assert words.printable(text) == text


@given(ANY_TEXT)
def test_one_line_is_one_line(text: str) -> None:
    assert len(words.one_line(text).splitlines()) <= 1


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(None, "-"), (0, "0 ms"), (0.0394, "39 ms"), (4.66, "4.7 s"), (61.4, "1 min 01 s"), (3725, "1 h 02 min")],
)
def test_durations(seconds: float | None, told: str) -> None:
    assert words.duration(seconds) == told


@pytest.mark.parametrize(
    ("count", "told"), [(None, "-"), (12, "12 B"), (104_858, "102.4 KiB"), (4 << 20, "4 MiB"), (6_783_000, "6.5 MiB")]
)
def test_sizes(count: float | None, told: str) -> None:
    assert words.size(count) == told


def test_moments_are_in_utc() -> None:
    assert words.moment(EPOCH) == "2026-09-21T14:13:20+00:00"
    assert words.clock(EPOCH) == "2026-09-21 14:13:20 UTC"


def test_a_restored_devices_versions_tell_what_it_was_on_in_between(tmp_path: Path) -> None:
    assert words.versions(restored(tmp_path).record()) == "1.1.0 → 1.2.0 → 1.1.0"


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_has_a_word_and_a_sign_of_its_own(outcome: Outcome) -> None:
    assert words.OUTCOME_WORDS[outcome]
    assert list(words.OUTCOME_SIGNS.values()).count(words.OUTCOME_SIGNS[outcome]) == 1
