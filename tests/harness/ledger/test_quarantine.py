"""A device that fails run after run is put aside; one success, or a person's release, clears its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.ledger import Ledger, QuarantineEntry
from harness.ledger.quarantine import streak
from harness.record import SAYS_NOTHING_OF_THE_BOARD, DeviceRecord, Outcome, RunRecord
from tests.harness.builders import EPOCH, LOST, died_while_flashing, not_run, rolled_back, run_of, untouched, updated

DEVICE = "ESP32_001"


class Lab:
    """Runs of one device, an hour after another, as the controller ends them."""

    def __init__(self, ledger: Ledger, folder: Path) -> None:
        self.ledger = ledger
        self._folder = folder
        self._hour = 0

    @property
    def now(self) -> float:
        return EPOCH + 3600.0 * self._hour

    def run(self, outcome: str, after: int = 3, **changes: object) -> list[QuarantineEntry]:
        self._hour += 1
        run = self._record(self._device(outcome), **changes)
        self.ledger.record(run)
        return self.ledger.update_quarantine(run, after)

    def runs(self, *outcomes: str) -> list[list[QuarantineEntry]]:
        return [self.run(outcome) for outcome in outcomes]

    def _record(self, device: DeviceRecord, **changes: object) -> RunRecord:
        run = run_of([device], run_id=f"run-{self._hour}", started=self.now, ended=self.now + 60)
        return replace(run, **changes)

    def _device(self, outcome: str) -> DeviceRecord:
        folder = self._folder / str(self._hour)
        if outcome == "failed":
            return rolled_back(folder, DEVICE).record()
        if outcome in SAYS_NOTHING_OF_THE_BOARD:
            return untouched(folder, DEVICE, replace(LOST, kind=outcome)).record()
        if outcome == "interrupted":
            return died_while_flashing(folder, DEVICE)
        if outcome == "not run":
            return not_run(DEVICE)
        device = updated(folder, DEVICE).record()
        return replace(device, outcome=Outcome.RESTORED) if outcome == "restored" else device


@pytest.fixture
def lab(ledger: Ledger, tmp_path: Path) -> Lab:
    return Lab(ledger, tmp_path)


def test_a_device_is_put_aside_when_it_has_failed_so_many_runs_in_a_row(lab: Lab):
    *earlier, last = lab.runs("failed", "failed", "failed")

    entry = QuarantineEntry(
        DEVICE,
        lab.now + 60,
        "run-3",
        "failed in 3 runs in a row; the last time: the flash at 0x10000 does not hold app.bin",
    )
    assert (earlier, last) == ([[], []], [entry])
    assert lab.ledger.quarantined() == {DEVICE: entry}


def test_it_is_reported_as_new_once(lab: Lab):
    lab.runs("failed", "failed", "failed")

    assert lab.run("failed") == []
    assert lab.ledger.quarantined()[DEVICE].run_id == "run-3"


def test_a_success_in_between_clears_its_name(lab: Lab):
    assert not any(lab.runs("failed", "failed", "updated", "failed", "failed"))
    assert lab.run("failed")


@pytest.mark.parametrize("outcome", ["interrupted", "not run", "restored", *sorted(SAYS_NOTHING_OF_THE_BOARD)])
def test_runs_that_say_nothing_of_the_device_neither_count_nor_clear(lab: Lab, outcome: str):
    assert not any(lab.runs("failed", outcome, "failed", outcome, outcome))
    assert lab.run("failed")


def test_rehearsals_neither_count_nor_clear(lab: Lab):
    lab.runs("failed", "failed")

    assert lab.run("failed", rehearsal=True) == []
    assert lab.run("updated", rehearsal=True) == []
    assert lab.run("failed")


def test_a_release_forgives_all_that_was_before_it(lab: Lab):
    lab.runs("failed", "failed", "failed")

    assert lab.ledger.release(DEVICE, "ada", lab.now + 90)
    assert lab.ledger.quarantined() == {}
    assert not any(lab.runs("failed", "failed"))
    assert lab.run("failed")


def test_a_run_that_was_going_on_when_the_device_was_released_does_not_count(lab: Lab):
    lab.runs("failed", "failed", "failed")
    lab.ledger.release(DEVICE, "ada", lab.now + 3600 + 30)

    assert not lab.run("failed", after=1)
    assert not any(lab.runs("failed", "failed"))
    assert lab.run("failed")


def test_only_a_device_in_quarantine_can_be_released(lab: Lab):
    assert not lab.ledger.release(DEVICE, "ada", EPOCH)
    lab.ledger.quarantine(DEVICE, "run-1", "two of its workers died", EPOCH)
    assert lab.ledger.release(DEVICE, "ada", EPOCH)
    assert not lab.ledger.release(DEVICE, "ada", EPOCH)


def test_a_device_can_be_put_aside_at_once_and_the_first_reason_stays(lab: Lab):
    assert lab.ledger.quarantine(DEVICE, "run-1", "two of its workers died", EPOCH)
    assert not lab.ledger.quarantine(DEVICE, "run-2", "and again", EPOCH + 1)

    assert lab.ledger.quarantined() == {DEVICE: QuarantineEntry(DEVICE, EPOCH, "run-1", "two of its workers died")}


def test_who_has_been_there_longest_comes_first(lab: Lab):
    for device_id, at in (("B", 2.0), ("A", 3.0), ("C", 1.0)):
        lab.ledger.quarantine(device_id, "run", "why", at)

    assert list(lab.ledger.quarantined()) == ["C", "B", "A"]


def test_with_1_a_single_failure_is_enough_and_with_0_nothing_is(lab: Lab):
    assert not any(lab.run("failed", after=0) for _ in range(5))
    assert [entry.reason for entry in lab.run("failed", after=1)] == [
        "failed: the flash at 0x10000 does not hold app.bin"
    ]


def test_it_does_not_matter_whether_the_run_was_recorded_before(lab: Lab):
    lab.runs("failed", "failed")
    run = run_of([rolled_back(lab._folder / "x", DEVICE).record()], run_id="run-x", started=lab.now + 1)

    assert lab.ledger.update_quarantine(run, 3)


def test_devices_are_counted_apart(ledger: Ledger, tmp_path: Path):
    for n in range(3):
        devices = [rolled_back(tmp_path / str(n), device_id).record() for device_id in ("A_1", "B_2")[: n + 1]]
        run = run_of(devices, run_id=f"run-{n}", started=EPOCH + n)
        ledger.record(run)
        new = ledger.update_quarantine(run, 3)

    assert [entry.device_id for entry in new] == ["A_1"]


@given(st.lists(st.sampled_from([outcome for outcome in Outcome if outcome.failed or outcome.succeeded])))
def test_a_streak_is_the_failures_since_the_last_success(outcomes: Sequence[Outcome]):
    counted = streak(outcomes)
    assert all(outcome.failed for outcome in outcomes[:counted])
    assert counted == len(outcomes) or outcomes[counted].succeeded


def test_an_error_without_words_in_the_record_still_has_a_reason(ledger: Ledger):
    device = replace(not_run(DEVICE), outcome=Outcome.EMERGENCY, reason="nobody knows")
    assert ledger.update_quarantine(run_of([device]), 1)[0].reason == "failed: nobody knows"
