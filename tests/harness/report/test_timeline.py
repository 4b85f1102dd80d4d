"""Timelines stay inside their drawing, whatever the clock did, and can be read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.record import DeviceRecord, Phase, PhaseOutcome, PhaseRecord, RunRecord
from harness.report.timeline import COLOURS, LETTERS, WIDTH, bars, scale

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


def test_the_longest_device_fills_the_scale(run: RunRecord) -> None:
    longest = next(device for device in run.devices if device.device_id == "ESP32_002")
    last = bars(longest, scale(run.devices))[-1]

    assert last.x + last.width == pytest.approx(WIDTH, abs=0.1)


@pytest.mark.parametrize("phase", Phase)
def test_white_letters_on_every_phase_can_be_read(phase: Phase) -> None:
    """WCAG 2.1, 1.4.3: contrast of at least 4.5 to 1."""
    channels = [int(COLOURS[phase][at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    assert 1.05 / (luminance + 0.05) >= 4.5


def test_every_phase_has_a_letter_of_its_own() -> None:
    assert len(set(LETTERS.values())) == len(Phase)
