from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.virtual.esp.autoreset import AutoReset


class Chip:
    """What a chip makes of its pins: it samples IO0 when it leaves reset."""

    def __init__(self) -> None:
        self.enabled = True
        self.io0_low = False
        self.starts: list[str] = []

    def drive(self, enabled: bool, io0_low: bool) -> None:
        if enabled and not self.enabled:
            self.starts.append("loader" if io0_low else "app")
        self.enabled, self.io0_low = enabled, io0_low


def started_by(*changes: dict[str, bool]) -> list[str]:
    chip = Chip()
    lines = AutoReset(chip.drive)
    for change in changes:
        lines.set(**change)
    return chip.starts


@pytest.mark.parametrize(
    ("dtr", "rts", "enabled", "io0_low"),
    [(False, False, True, False), (False, True, False, False), (True, False, True, True)],
)
def test_the_truth_table(dtr: bool, rts: bool, enabled: bool, io0_low: bool) -> None:
    chip = Chip()
    AutoReset(chip.drive).set(dtr=dtr, rts=rts)
    assert (chip.enabled, chip.io0_low) == (enabled, io0_low)


@pytest.mark.parametrize("before", [True, False])
def test_both_asserted_release_io0_and_leave_en_as_it_was(before: bool) -> None:
    chip = Chip()
    lines = AutoReset(chip.drive)
    lines.set(dtr=before, rts=not before)
    lines.set(dtr=True, rts=True)
    assert (chip.enabled, chip.io0_low) == (before, False)


def test_the_classic_sequence_starts_the_loader_once() -> None:
    assert started_by(
        {"dtr": False}, {"rts": True}, {"dtr": False}, {"dtr": True}, {"rts": False}, {"dtr": True}, {"dtr": False}
    ) == ["loader"]


def test_the_tight_sequence_starts_the_loader_once() -> None:
    assert started_by(
        {"dtr": False, "rts": False},
        {"dtr": True, "rts": True},
        {"dtr": False, "rts": True},
        {"dtr": True, "rts": False},
        {"dtr": False, "rts": False},
        {"dtr": False},
    ) == ["loader"]


def test_a_pulse_on_rts_starts_the_application() -> None:
    assert started_by({"dtr": False}, {"rts": True}, {"rts": False}) == ["app"]


def test_opening_and_closing_a_port_resets_nothing() -> None:
    assert started_by({"dtr": True}, {"rts": True}, {"dtr": False, "rts": False}) == []


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1))
def test_whatever_the_lines_do_the_chip_runs_when_both_are_released(changes: list[tuple[bool, bool]]) -> None:
    chip = Chip()
    lines = AutoReset(chip.drive)
    for dtr, rts in changes:
        lines.set(dtr=dtr, rts=rts)
    lines.set(dtr=False, rts=False)
    assert chip.enabled
    assert not chip.io0_low
