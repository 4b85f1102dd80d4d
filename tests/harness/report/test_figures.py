"""The figures count every device exactly once, and agree with each other on any run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.base import Category
from harness.record import DeviceRecord, ErrorRecord, Outcome, Phase, PhaseOutcome, PhaseRecord, RunRecord
from harness.report.figures import figures, rate
from harness.report.figures import not_run as figures_not_run
from tests.harness.builders import not_run, restored, rolled_back, run_of, unchanged, updated

ERRORS = st.one_of(
    st.none(), st.builds(ErrorRecord, st.sampled_from(Category), st.just("E"), st.just("m"), st.just("a"))
)
DEVICES = st.lists(
    st.builds(
        DeviceRecord,
        device_id=st.uuids().map(str),
        device_type=st.just("esp32"),
        port=st.just("p"),
        outcome=st.sampled_from(Outcome),
        error=ERRORS,
    ),
    max_size=12,
)


@given(DEVICES)
def test_every_device_is_counted_once(devices: list[DeviceRecord]) -> None:
    counts = figures(run_of(devices))

    ended = counts.success + counts.failure + counts.restored
    assert ended + counts.skipped + counts.count(Outcome.RUNNING) == counts.total
    assert sum(counts.errors.values()) == counts.failure
    assert 0 <= counts.success_rate <= 100


def test_a_run_of_each_ending(run: RunRecord) -> None:
    counts = figures(run)

    assert (counts.total, counts.success, counts.failure, counts.skipped) == (8, 3, 4, 1)
    assert counts.retried == 2
    assert counts.success_rate == pytest.approx(100 * 3 / 7)
    assert counts.errors == {Category.VERIFICATION: 2, Category.CONNECTION: 1, Category.OTHER: 1}


def test_a_fleet_that_was_taken_back_is_no_success(tmp_path: Path) -> None:
    told = [unchanged(tmp_path, "A3"), restored(tmp_path, "A1"), restored(tmp_path, "A2"), rolled_back(tmp_path, "A4")]
    counts = figures(run_of([story.record() for story in told]))

    assert (counts.success, counts.failure, counts.restored) == (1, 1, 2)
    assert counts.success_rate == 25.0


def test_flash_times_are_kept_of_boards_that_were_taken_back(tmp_path: Path) -> None:
    assert figures(run_of([restored(tmp_path).record()])).flash.average_s == pytest.approx(10.0)


def test_devices_that_did_not_run_are_told_by_their_reason() -> None:
    devices = [not_run("A1", "halted"), not_run("A2", "in quarantine"), not_run("A3", "halted")]
    told = figures_not_run(run_of(devices))

    assert {why: [device.device_id for device in found] for why, found in told.items()} == {
        "halted": ["A1", "A3"],
        "in quarantine": ["A2"],
    }


def test_no_devices_are_no_success() -> None:
    counts = figures(run_of([]))

    assert counts.success_rate == 0.0
    assert counts.flash.average_s is None


def test_flash_times_are_those_of_updated_devices(tmp_path: Path, run: RunRecord) -> None:
    run = run_of([updated(tmp_path, f"A{n}", flash_s=float(n)).record() for n in (2, 4, 9)])
    flash = figures(run).flash

    assert (flash.average_s, flash.fastest_s, flash.slowest_s) == pytest.approx((5.0, 2.0, 9.0), abs=1e-3)
    assert flash.rate == pytest.approx(3 * (1 << 20) / 15, rel=1e-3)


def test_a_run_that_goes_on_is_as_long_as_its_last_ended_device(run: RunRecord) -> None:
    going_on = replace(run, ended=None)

    assert figures(going_on).total_s == pytest.approx(32.0, abs=0.1)


def test_a_phase_without_bytes_or_time_has_no_rate() -> None:
    phase = PhaseRecord(Phase.FLASH, 1, 10.0, 10.0, PhaseOutcome.PASSED, figures={"bytes": 5})

    assert rate(phase) is None
    assert rate(replace(phase, ended=12.0)) == 2.5
    assert rate(replace(phase, ended=12.0, figures={})) is None
