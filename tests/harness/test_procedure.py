"""A device ends on the new firmware or on the one it had, verified; anything else is called an emergency."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.base import (
    BoardTestFailed,
    BootFailed,
    Capabilities,
    Category,
    ConnectionLost,
    FlashFailed,
    Identity,
    Interface,
    Segment,
    VerificationFailed,
    WrongBoard,
)
from drivers.virtual.spec import BoardSpec
from harness import safekeeping
from harness.locks import PortLock
from harness.procedure import BoardTest
from harness.record import Outcome, Phase, PhaseOutcome
from harness.report.words import state
from harness.retry import RetryPolicy
from harness.safekeeping import can_not_be_taken_back
from tests.harness.full_disk import files_end_at
from tests.harness.memory_board import APP, MAC, SIZE, FailAt, MemoryBoard, MemoryDriver, MemorySession, firmware
from tests.harness.procedure_bench import LIMITS, Bench, check_the_truth, plan


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_good_update_ends_on_the_new_firmware(bench: Bench):
    assert bench.run().outcome is Outcome.UPDATED
    assert bytes(bench.board.flash) == bench.new_flash
    record = bench.record
    assert (record.version_before, record.version_after) == ("1.0.0", "2.0.0")
    assert [p.phase for p in record.phases] == [
        Phase.LOCK,
        Phase.IDENTIFY,
        Phase.BACKUP,
        Phase.FLASH,
        Phase.VERIFY,
        Phase.BOOT,
    ]


def test_a_board_on_the_new_firmware_is_not_written(bench: Bench):
    bench.board.put("2.0.0")
    assert bench.run().outcome is Outcome.UNCHANGED
    assert "write" not in bench.board.operations
    flash = next(p for p in bench.record.phases if p.phase is Phase.FLASH)
    assert (flash.outcome, flash.detail) == (PhaseOutcome.SKIPPED, "the board holds these images already")


def test_reflash_writes_what_the_board_holds_already(bench: Bench):
    bench.board.put("2.0.0")
    assert bench.run(plan(reflash=True)).outcome is Outcome.UPDATED
    assert "write" in bench.board.operations


@pytest.mark.parametrize(
    ("identity", "said"),
    [
        (Identity("other", "v1.0", MAC, SIZE), "the chip is other, expected memory"),
        (Identity("memory", "v1.0", "24:0a:c4:ff:ff:ff", SIZE), "its MAC or serial is 24:0a:c4:ff:ff:ff"),
        (Identity("memory", "v1.0", MAC, APP), "its flash at 0x2000"),
    ],
)
def test_the_wrong_board_is_never_written(bench: Bench, identity: Identity, said: str):
    bench.board.identity = identity
    ending = bench.run()
    assert ending.outcome is Outcome.UNTOUCHED
    assert said in ending.error.message
    assert bytes(bench.board.flash) == bench.old_flash
    assert bench.board.operations.count("connect") == 1


class Picky(MemoryDriver):
    """Its images are for boards of a later revision."""

    def refusal(self, image: Segment, identity: Identity) -> str:
        return f"{image.name} needs v2.0, this one is {identity.revision}"


def test_an_image_that_this_very_board_would_not_start_is_not_written_unless_that_is_wanted(tmp_path: Path):
    bench = Bench(tmp_path, Picky(MemoryBoard()))
    ending = bench.run()
    assert (ending.outcome, ending.error.kind) == (Outcome.UNTOUCHED, "BadImage")
    assert ending.error.message == "app.bin needs v2.0, this one is v1.0"
    assert bench.board.operations.count("connect") == 1
    assert bytes(bench.board.flash) == bench.old_flash
    assert bench.run(plan(check_compatibility=False)).outcome is Outcome.UPDATED


def test_a_board_on_the_network_that_ends_as_an_emergency_is_to_be_reached_by_its_serial_line(tmp_path: Path):
    bench = Bench(tmp_path, MemoryDriver(MemoryBoard(), interface=Interface.NETWORK))
    bench.board.fail = FailAt("write", 1, times=1000)
    ending = bench.run()
    assert ending.outcome is Outcome.EMERGENCY
    assert ending.error.advice.endswith("reach it by its serial line.")


def test_a_board_that_is_swapped_between_two_attempts_is_not_written(bench: Bench):
    def swap(operation: str) -> ConnectionLost | None:
        if operation == "digest" and bench.board.operations.count("connect") == 1:
            bench.board.identity = replace(bench.board.identity, revision="v9.9")
            return ConnectionLost("unplugged")
        return None

    bench.board.fail = swap
    ending = bench.run()
    assert "another board answered before on this port" in ending.error.message
    assert bytes(bench.board.flash) == bench.old_flash


def test_a_passing_fault_is_mended_by_trying_again_at_a_lower_rate(bench: Bench):
    bench.board.fail = FailAt("write", 2, ConnectionLost("noise"))
    assert bench.run().outcome is Outcome.UPDATED
    attempts = bench.record.attempts
    assert [(a.number, a.baud) for a in attempts] == [(1, 921600), (2, 115200)]
    assert attempts[0].error.message == "noise"
    assert bytes(bench.board.flash) == bench.new_flash


def test_a_write_that_keeps_failing_ends_on_the_old_firmware(bench: Bench):
    bench.board.fail = FailAt("write", 2, FlashFailed("worn flash"), times=3)
    ending = bench.run()
    assert ending.outcome is Outcome.ROLLED_BACK
    assert (ending.error.category, ending.error.phase) == (Category.FLASH, Phase.FLASH)
    assert bytes(bench.board.flash) == bench.old_flash
    assert bench.record.version_after == "1.0.0"


def test_firmware_that_panics_is_rolled_back(bench: Bench):
    bench.board.panics = ("2.0.0",)
    ending = bench.run()
    assert ending.outcome is Outcome.ROLLED_BACK
    assert "the firmware does not run: PANIC" in ending.error.message
    assert bytes(bench.board.flash) == bench.old_flash


def test_a_failing_test_of_the_batch_rolls_back(bench: Bench):
    def fail() -> str:
        raise BoardTestFailed("test_led: the LED stayed dark")

    ending = bench.run(tests=(BoardTest("test_ok", lambda: ""), BoardTest("test_led", fail)))
    assert ending.outcome is Outcome.ROLLED_BACK
    assert ending.error.message == "test_led: the LED stayed dark"
    assert bytes(bench.board.flash) == bench.old_flash


def test_a_bug_in_a_test_of_the_batch_rolls_back_too(bench: Bench):
    def bug() -> str:
        raise ZeroDivisionError("division by zero")

    ending = bench.run(tests=(BoardTest("test_bug", bug),))
    assert ending.outcome is Outcome.ROLLED_BACK
    assert (ending.error.kind, ending.error.category) == ("HarnessFault", Category.OTHER)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), pytest.skip.Exception("not today")])
def test_what_is_no_exception_rolls_back_as_well(bench: Bench, error: BaseException):
    def leave() -> str:
        raise error

    ending = bench.run(tests=(BoardTest("test_leave", leave),))
    assert ending.outcome is Outcome.ROLLED_BACK
    assert type(error).__name__ in ending.error.message
    assert bytes(bench.board.flash) == bench.old_flash


def test_every_phase_that_was_begun_is_ended_in_the_journal_when_the_devices_limit_cuts_it(bench: Bench):
    def hang(operation: str) -> None:
        if operation == "write" and bench.board.operations.count("write") == 2:
            time.sleep(60)

    bench.board.fail = hang
    ending = bench.run(plan(limits=LIMITS.model_copy(update={"device_s": 3})))
    assert ending.outcome is Outcome.ROLLED_BACK
    outcomes = {phase.phase: phase for phase in bench.record.phases}
    assert outcomes[Phase.FLASH].outcome is PhaseOutcome.FAILED
    assert outcomes[Phase.FLASH].error.message == "the whole device took longer than 3 s"


def test_restored_firmware_that_does_not_start_is_said(bench: Bench):
    bench.board.panics = ("1.0.0", "2.0.0")
    ending = bench.run()
    assert ending.outcome is Outcome.ROLLED_BACK
    assert ending.reason.endswith("its start was not seen: the firmware does not run: PANIC")
    assert state(bench.record) == f"back on 1.0.0: {ending.reason}"


def test_a_board_that_can_not_be_restored_is_an_emergency(bench: Bench):
    bench.board.panics = ("2.0.0",)
    bench.board.fail = FailAt("write", 4, FlashFailed("dead"), times=100)
    ending = bench.run()
    assert ending.outcome is Outcome.EMERGENCY
    assert ending.reason == "the rollback failed: dead"


@pytest.mark.parametrize(
    ("changes", "reason"), [({"rollback": False}, "rollback_on_failure is off"), ({"backup": False}, "no backup")]
)
def test_without_rollback_or_backup_a_failed_board_is_an_emergency(bench: Bench, changes, reason):
    bench.board.panics = ("2.0.0",)
    ending = bench.run(plan(**changes))
    assert ending.outcome is Outcome.EMERGENCY
    assert reason in ending.reason


def test_a_hanging_library_ends_with_the_phase_and_the_board_is_restored(bench: Bench):
    def hang(operation: str) -> None:
        if operation == "write" and bench.board.operations.count("write") == 2:
            time.sleep(60)

    bench.board.fail = hang
    ending = bench.run(plan(limits=LIMITS.model_copy(update={"flash_s": 1}), retry_policy=RetryPolicy(1, 0.01, True)))
    assert ending.outcome is Outcome.ROLLED_BACK
    assert (ending.error.category, ending.error.message) == (Category.TIMEOUT, "the flash phase took longer than 1 s")
    assert bytes(bench.board.flash) == bench.old_flash


def test_the_time_limit_of_the_device_covers_its_retries(bench: Bench):
    bench.board.fail = FailAt("connect", 1, ConnectionLost("silent"), times=1000)
    ending = bench.run(
        plan(limits=LIMITS.model_copy(update={"device_s": 0.3}), retry_policy=RetryPolicy(1000, 0.01, False))
    )
    assert ending.outcome is Outcome.UNTOUCHED
    assert ending.error.message == "the whole device took longer than 0.3 s"


def test_a_port_in_use_leaves_the_board_alone(bench: Bench, tmp_path: Path):
    with PortLock("/dev/memory", "run-0", "OTHER", bench.lock_dir) as other:
        other.acquire(1)
        ending = bench.run(plan(limits=LIMITS.model_copy(update={"lock_s": 0.1})))
    assert ending.outcome is Outcome.UNTOUCHED
    assert "run run-0, device OTHER" in ending.error.message
    assert bench.board.operations == []


def test_an_untouched_board_is_left_running_its_application(bench: Bench):
    bench.board.fail = FailAt("read", 1, ConnectionLost("noise"), times=3)
    assert bench.run().outcome is Outcome.UNTOUCHED
    assert bench.board.operations[-1] == "reset"


def test_a_board_that_fails_to_identify_itself_is_not_left_in_its_boot_loader(bench: Bench):
    bench.board.fail = FailAt("connect", 1, WrongBoard("flash encryption is enabled on this chip"))
    assert bench.run().outcome is Outcome.UNTOUCHED
    assert bench.board.operations == ["connect", "reset"]


def test_what_can_not_hash_is_verified_by_reading_back(tmp_path: Path):
    can_read = Capabilities(can_read_back=True, can_hash=False, can_reset=True)
    bench = Bench(tmp_path, MemoryDriver(MemoryBoard(), capabilities=can_read))
    assert bench.run().outcome is Outcome.UPDATED
    assert "digest" not in bench.board.operations
    assert bytes(bench.board.flash) == bench.new_flash


def test_a_board_that_can_not_be_read_back_is_written_again_until_its_old_firmware_starts(tmp_path: Path):
    blind = Capabilities(can_read_back=False, can_hash=False, can_reset=True)
    bench = Bench(tmp_path, MemoryDriver(MemoryBoard(), capabilities=blind))
    assert bench.run(plan("2.0.0")).outcome is Outcome.UPDATED
    bench.board.panics = ("3.0.0",)
    bench.board.operations.clear()
    bench.board.fail = FailAt("reset", 2, BootFailed("back in its boot loader"))
    bench.journal = tmp_path / "second.jsonl"
    ending = bench.run(plan("3.0.0"))
    assert ending.outcome is Outcome.ROLLED_BACK
    assert (bench.board.version(), bench.record.version_after) == ("2.0.0", "2.0.0")
    assert bench.board.operations.count("reset") == 3
    assert bench.record.phases[-1].figures["bytes"] == 2 * len(firmware("2.0.0"))


def test_a_board_that_can_not_be_read_back_and_never_starts_again_is_an_emergency(tmp_path: Path):
    blind = Capabilities(can_read_back=False, can_hash=False, can_reset=True)
    bench = Bench(tmp_path, MemoryDriver(MemoryBoard(), capabilities=blind))
    bench.run(plan("2.0.0"))
    bench.board.panics = ("2.0.0", "3.0.0")
    bench.journal = tmp_path / "second.jsonl"
    ending = bench.run(plan("3.0.0"))
    assert ending.outcome is Outcome.EMERGENCY
    assert ending.reason == "the rollback failed: the firmware does not run: PANIC"


@pytest.fixture
def beside(tmp_path: Path) -> Bench:
    """A board that takes firmware beside the one that runs, and tells nothing of either but a version."""
    can = Capabilities(can_read_back=False, can_hash=False, can_reset=True, has_slots=True, can_revert=False)
    return Bench(tmp_path, MemoryDriver(MemoryBoard(), capabilities=can))


def test_another_version_shows_that_the_new_firmware_runs(beside: Bench):
    assert beside.run().outcome is Outcome.UPDATED
    assert state(beside.record) == "on 2.0.0, verified"


def test_firmware_of_the_version_that_ran_before_is_not_called_verified(beside: Bench):
    beside.board.put("2.0.0")
    assert beside.run().outcome is Outcome.UPDATED
    assert not beside.record.is_verified
    assert state(beside.record) == (
        "on 2.0.0, not verified: nothing tells whether it runs the new firmware or the one before, which is 2.0.0, too"
    )


def test_a_board_that_runs_the_old_firmware_after_all_has_failed(beside: Bench, monkeypatch: pytest.MonkeyPatch):
    beside.board.put("2.0.0")
    monkeypatch.setattr(MemorySession, "holds", lambda self, _segment: None if self._connected else False)
    ending = beside.run()
    assert (ending.error.kind, ending.error.phase) == ("BootFailed", Phase.CONFIRM)
    assert "its boot loader has gone back" in ending.error.message


def test_a_board_of_which_no_earlier_firmware_is_known_stays_on_the_new_one(beside: Bench):
    beside.run()
    ending = beside.run(restore=True)
    assert (ending.outcome, ending.error) == (Outcome.UPDATED, None)
    assert ending.reason == "not taken back: no earlier firmware of it is known"
    assert beside.record.certain_outcome is Outcome.UPDATED


@pytest.mark.parametrize("tells_version", [True, False])
def test_firmware_that_was_taken_back_is_not_what_the_next_run_goes_back_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tells_version: bool
):
    blind = Capabilities(can_read_back=False, can_hash=False, can_reset=True)
    bench = Bench(tmp_path, MemoryDriver(MemoryBoard(), capabilities=blind))
    if not tells_version:
        monkeypatch.setattr(MemorySession, "installed_version", lambda _self, _address: None)
    for version in ("2.0.0", "3.0.0"):
        bench.journal, bench.run_id = tmp_path / f"{version}.jsonl", f"run-{version}"
        assert bench.run(plan(version)).outcome is Outcome.UPDATED
    assert bench.run(plan("3.0.0"), restore=True).outcome is Outcome.RESTORED
    bench.board.panics = ("4.0.0",)
    bench.journal, bench.run_id = tmp_path / "next.jsonl", "run-next"
    assert bench.run(plan("4.0.0")).outcome is Outcome.ROLLED_BACK
    assert bench.board.version() == "2.0.0"


def test_one_that_does_not_run_it_any_more_is_an_emergency(beside: Bench):
    beside.run()
    beside.board.panics = ("2.0.0",)
    ending = beside.run(restore=True)
    assert (ending.outcome, ending.error.phase) == (Outcome.EMERGENCY, Phase.BOOT)


def test_that_nothing_could_be_put_back_is_known_beforehand(beside: Bench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(safekeeping, "load_driver", lambda _type: beside.driver)
    assert can_not_be_taken_back(plan(), beside.store)
    beside.run()
    assert not can_not_be_taken_back(plan(), beside.store), "it is known to work with this run's firmware"
    previous = plan().images[0]
    assert not can_not_be_taken_back(plan(device_id="BOARD_2", previous=previous), beside.store)


def test_what_a_twin_was_seen_to_run_is_not_put_on_the_real_board(beside: Bench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(safekeeping, "load_driver", lambda _type: beside.driver)
    twins = [plan(virtual=BoardSpec(board_id="BOARD_1", chip="esp32", keep=keep)) for keep in (False, True)]
    known = []
    for twin in twins:
        assert beside.run(twin).outcome is Outcome.UPDATED
        known.append([not can_not_be_taken_back(each, beside.store) for each in (plan(), twin)])
    assert known == [[False, False], [False, True]], "one that keeps its flash has a history, which is its own"


def test_every_journal_event_that_matters_is_there_before_what_it_announces(bench: Bench):
    seen: list[str] = []

    def look(operation: str) -> None:
        if operation == "write":
            seen.append(bench.record.phases[-1].phase)

    bench.board.fail = look
    bench.run()
    assert set(seen) == {Phase.FLASH}


operations = st.sampled_from(["connect", "digest", "read", "version", "write", "reset"])
errors = st.sampled_from([ConnectionLost("noise"), FlashFailed("refused"), VerificationFailed("differs")])
faults = st.builds(FailAt, operations, st.integers(1, 40), errors, st.sampled_from([1, 2, 3, 5, 1000]))


@given(fault=faults, second=faults, panics=st.booleans())
def test_whatever_fails_the_outcome_tells_the_truth_about_the_flash(fault, second, panics, tmp_path_factory):
    bench = Bench(tmp_path_factory.mktemp("bench"))
    bench.board.panics = ("2.0.0",) if panics else ()
    bench.board.fail = lambda operation: fault(operation) or second(operation)
    ending = bench.run()
    check_the_truth(bench, ending)
    assert bench.record.outcome is ending.outcome


@given(room=st.integers(0, 6000), panics=st.booleans())
def test_a_disk_that_fills_up_at_any_moment_leaves_no_board_half_written(room, panics, tmp_path_factory):
    bench = Bench(tmp_path_factory.mktemp("bench"))
    bench.board.panics = ("2.0.0",) if panics else ()
    with files_end_at(room):
        ending = bench.run()
    check_the_truth(bench, ending)
    assert ending.outcome is not Outcome.EMERGENCY
