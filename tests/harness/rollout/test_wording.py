"""A gate in words: figure and limit with their units, and never a miss that reads like a hit."""

from __future__ import annotations

import pytest

from harness.rollout.state import GateState, Unit, Verdict
from harness.rollout.wording import gate_words


@pytest.mark.parametrize(
    ("name", "figure", "limit", "unit", "told"),
    [
        ("success_threshold", 60.0, 90, Unit.PERCENT, "60 %, at least 90 % wanted"),
        ("min_success_rate", 99.96, 100, Unit.PERCENT, "99.96 %, at least 100 % wanted"),
        ("max_failure_rate", 100 / 3, 12.5, Unit.PERCENT, "33.33 %, at most 12.5 % allowed"),
        ("canary", 4.0, 5, Unit.PERCENT, "4 %, at most 5 % allowed"),
        ("max_flash_time", 60.04, 60, Unit.SECONDS, "60.04 s, at most 60 s allowed"),
        ("min_flash_time", 0.0164, 2, Unit.SECONDS, "16.4 ms, at least 2 s wanted"),
        ("max_flash_time", None, 60, Unit.SECONDS, "nothing measured, at most 60 s allowed"),
        ("require_verification", 4, 5, Unit.DEVICES, "4 of 5, every one wanted"),
    ],
)
def test_a_gate_says_figure_and_limit_with_units(
    name: str, figure: float | None, limit: float, unit: Unit, told: str
) -> None:
    gate = GateState(name=name, verdict=Verdict.OPEN, figure=figure, limit=limit, unit=unit)

    assert gate_words(gate) == f"{name}: {told}"


def test_the_detail_stands_behind_in_brackets() -> None:
    gate = GateState(
        name="max_flash_time",
        verdict=Verdict.FAILED,
        figure=70.0,
        limit=60,
        unit=Unit.SECONDS,
        detail="slowest: ESP32_004",
    )

    assert gate_words(gate).endswith("at most 60 s allowed (slowest: ESP32_004)")
