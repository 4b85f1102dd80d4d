"""Timelines stay inside their drawing, whatever the clock did, and can be read."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.record import DeviceRecord, Phase, PhaseOutcome, PhaseRecord, RunRecord
from harness.report.timeline import COLOURS, LETTERS, WIDTH, bars, breaks, scale
from tests.harness.builders import Story, restored

TIMES = st.floats(0, 1e6)
PHASES = st.lists(
    st.builds(
        PhaseRecord,
        phase=st.sampled_from(Phase),
        attempt=st.integers(0, 3),
        started=TIMES,
        ended=st.one_of(st.none(), TIMES),  # a clock that is set back ends a phase before it began
        outcome=st.sampled_from(PhaseOutcome),
    ),
    max_size=8,
)


@given(PHASES, st.one_of(st.none(), TIMES), st.one_of(st.none(), TIMES))
def test_every_phase_is_drawn_and_inside(phases: list[PhaseRecord], started: float | None, ended: float | None) -> None:
    device = DeviceRecord("D", "t", "p", phases=tuple(phases), started=started, ended=ended)
    scale_s = scale([device])
    drawn = bars(device, scale_s)

    assert len(drawn) == (len(phases) if scale_s > 0 else 0)
    for bar in drawn:
        assert bar.x >= 0
        assert bar.width > 0
        assert bar.x + bar.width <= WIDTH + 0.02
    assert all(0 < pause.x < WIDTH for pause in breaks(device, scale_s))


def test_the_longest_device_fills_the_scale(run: RunRecord) -> None:
    longest = next(device for device in run.devices if device.device_id == "ESP32_002")
    last = bars(longest, scale(run.devices))[-1]

    assert last.x + last.width == pytest.approx(WIDTH, abs=0.1)


def test_a_pause_of_hours_leaves_room_for_the_work_around_it(tmp_path: Path) -> None:
    device = restored(tmp_path, pause_s=7200.0).record()
    scale_s = scale([device])
    drawn, (pause,) = bars(device, scale_s), breaks(device, scale_s)
    rollback = drawn[-1]

    assert scale_s == pytest.approx(22.4, rel=0.06)
    assert rollback.width > WIDTH / 5
    assert rollback.x + rollback.width == pytest.approx(WIDTH, abs=0.1)
    assert drawn[-3].x + drawn[-3].width < pause.x < drawn[-2].x
    assert pause.title == "a pause of 2 h 00 min"


def test_a_phase_that_was_cut_short_lasts_until_the_next_thing_known(tmp_path: Path) -> None:
    story = Story(tmp_path).starts().attempt().phase_starts(Phase.FLASH).after(4.0).phase(Phase.VERIFY, 6.0)
    flash, verify = bars(story.record(), scale([story.record()]))[-2:]

    assert flash.unfinished
    assert flash.x + flash.width == pytest.approx(verify.x, abs=0.1)


@pytest.mark.parametrize("phase", Phase)
def test_white_letters_on_every_phase_can_be_read(phase: Phase) -> None:
    """WCAG 2.1, 1.4.3: contrast of at least 4.5 to 1."""
    channels = [int(COLOURS[phase][at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    assert 1.05 / (luminance + 0.05) >= 4.5


def test_every_phase_has_a_letter_of_its_own() -> None:
    assert len(set(LETTERS.values())) == len(Phase)
