"""When a device was worked on, and for how long, whatever it waited for in between."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.record import DeviceRecord, Outcome, Phase
from harness.report.acts import acts, seconds_spent
from tests.harness.builders import EPOCH, Story, died_while_flashing, not_run, restored, updated


def test_a_device_that_was_begun_once_took_as_long_as_its_record_says(tmp_path: Path) -> None:
    device = updated(tmp_path).record()

    assert len(acts(device)) == 1
    assert seconds_spent(device) == device.seconds


def test_the_wait_before_a_restore_is_nobodys_time(tmp_path: Path) -> None:
    device = restored(tmp_path, pause_s=3600.0).record()

    assert [act.phases[0].phase for act in acts(device)] == [Phase.LOCK, Phase.LOCK]
    assert device.seconds == pytest.approx(3622.4, abs=0.1)
    assert seconds_spent(device) == pytest.approx(22.4, abs=0.1)


def test_a_device_whose_run_was_resumed_the_next_day_did_not_take_a_day(tmp_path: Path) -> None:
    story = Story(tmp_path).starts().attempt().identified().phase_starts(Phase.FLASH).after(86400.0)
    story.starts().attempt().identified().flashed().phase(Phase.VERIFY).boots().ends(Outcome.UPDATED)

    assert seconds_spent(story.record()) == pytest.approx(13.0, abs=0.1)


def test_a_device_that_was_cut_short_ends_when_its_run_noticed(tmp_path: Path) -> None:
    device = died_while_flashing(tmp_path)

    assert acts(device)[-1].ended == device.ended


def test_a_device_that_never_began_has_no_act() -> None:
    assert acts(not_run()) == ()
    assert seconds_spent(not_run()) is None


def test_a_device_of_which_no_phase_is_known_has_an_empty_one() -> None:
    device = DeviceRecord("D1", "esp32", "p", started=EPOCH, ended=EPOCH + 2.0)

    assert [(act.phases, act.seconds) for act in acts(device)] == [((), 2.0)]
