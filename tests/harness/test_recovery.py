"""A device that was cut short at any moment is finished or restored when it is taken up again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.base import ConnectionLost, FlashFailed
from harness.device import Ending
from harness.record import INTERRUPTED, Outcome, Phase, PhaseOutcome, settle
from harness.recovery import Way, is_left_half_done, way
from harness.store import Store
from tests.harness.memory_board import APP, BLOCK, MAC, FailAt
from tests.harness.procedure_bench import Bench, check_the_truth, plan


class Death:
    """What was on disk and in flash when a worker died at its n-th operation; a line may have been torn."""

    def __init__(self, bench: Bench, nth: int, operation: str = "", torn: int = 0) -> None:
        self._bench = bench
        self._left = nth
        self._operation = operation
        self._torn = torn
        self._flash = b""
        self._journal = b""

    def __call__(self, operation: str) -> None:
        if self._operation in ("", operation):
            self._left -= 1
        if self._left == 0:
            self._flash = bytes(self._bench.board.flash)
            self._journal = self._bench.journal.read_bytes()

    @property
    def happened(self) -> bool:
        return self._left <= 0

    def strike(self) -> None:
        """Things as they were at that moment."""
        self._bench.board.flash[:] = self._flash
        whole = self._journal.splitlines(keepends=True)
        line = b'{"at": 1790000000.0, "event": "progress", "done": 4096}\n'[: self._torn]
        self._bench.journal.write_bytes(b"".join(whole) + line)
        self._bench.board.fail = lambda _operation: None


@pytest.fixture
def bench(tmp_path) -> Bench:
    return Bench(tmp_path)


def die(bench: Bench, operation: str, nth: int) -> None:
    death = Death(bench, nth, operation)
    bench.board.fail = death
    bench.run()
    assert death.happened
    death.strike()


def phases(bench: Bench) -> list[tuple[str, str]]:
    return [(phase.phase, phase.outcome) for phase in bench.record.phases]


def test_a_board_that_was_being_written_is_finished(bench: Bench):
    die(bench, "write", 2)
    assert way(bench.record) is Way.FINISH
    assert is_left_half_done(bench.record)
    assert bench.run().outcome is Outcome.UPDATED
    assert bytes(bench.board.flash) == bench.new_flash
    assert (bench.record.version_before, bench.record.version_after) == ("1.0.0", "2.0.0")


def test_the_backup_of_a_finished_board_is_the_one_from_before(bench: Bench):
    die(bench, "write", 2)
    bench.board.panics = ("2.0.0",)
    assert bench.run().outcome is Outcome.ROLLED_BACK
    assert bytes(bench.board.flash) == bench.old_flash
    assert [phase for phase, _ in phases(bench)].count(Phase.BACKUP) == 1


def test_a_board_that_was_written_already_is_only_verified(bench: Bench):
    die(bench, "reset", 1)
    bench.board.operations.clear()
    assert bench.run().outcome is Outcome.UPDATED
    assert "write" not in bench.board.operations
    assert (Phase.FLASH, PhaseOutcome.SKIPPED) in phases(bench)


def test_a_rollback_that_was_cut_short_goes_on(bench: Bench):
    bench.board.panics = ("2.0.0",)
    die(bench, "write", 5)
    assert way(bench.record) is Way.RESTORE
    bench.board.panics = ()  # the new firmware was judged already
    ending = bench.run()
    assert ending.outcome is Outcome.ROLLED_BACK
    assert (ending.error.kind, ending.error.phase) == ("BootFailed", Phase.BOOT)
    assert bytes(bench.board.flash) == bench.old_flash


def test_a_board_that_nothing_was_written_to_is_begun_anew(bench: Bench):
    die(bench, "read", 1)
    assert way(bench.record) is Way.BEGIN
    assert not is_left_half_done(bench.record)
    assert bench.run().outcome is Outcome.UPDATED
    assert bench.record.started < bench.record.ended


def test_attempts_are_counted_on(bench: Bench):
    die(bench, "write", 2)
    bench.run()
    assert [attempt.number for attempt in bench.record.attempts] == [1, 2]


def test_another_board_on_the_port_is_not_finished(bench: Bench):
    die(bench, "write", 2)
    half = bytes(bench.board.flash)
    other = bench.board.identity.__class__("memory", "v1.0", "24:0a:c4:00:00:99", bench.board.identity.flash_size)
    bench.board.identity = other
    ending = bench.run()
    assert ending.outcome is Outcome.EMERGENCY
    assert bytes(bench.board.flash) == half


def test_a_board_whose_port_is_in_use_stays_an_emergency_and_is_not_touched(bench: Bench):
    from harness.locks import PortLock
    from tests.harness.procedure_bench import LIMITS

    die(bench, "write", 2)
    bench.board.operations.clear()
    with PortLock("/dev/memory", "run-0", "OTHER", bench.lock_dir) as other:
        other.acquire(1)
        ending = bench.run(plan(limits=LIMITS.model_copy(update={"lock_s": 0.1})))
    assert (ending.outcome, ending.reason) == (
        Outcome.EMERGENCY,
        "half-written earlier, and its port could not be had now",
    )
    assert bench.board.operations == []


def test_an_emergency_whose_rollback_failed_is_restored_when_it_is_taken_up_again(bench: Bench):
    bench.board.panics = ("2.0.0",)
    bench.board.fail = FailAt("write", 4, ConnectionLost("no power"), times=1000)
    assert bench.run().outcome is Outcome.EMERGENCY
    bench.board.fail = lambda _operation: None
    ending = bench.run()
    assert (ending.outcome, ending.error.kind) == (Outcome.ROLLED_BACK, "BootFailed")
    assert bytes(bench.board.flash) == bench.old_flash


def test_without_its_backup_a_half_written_board_is_still_finished(bench: Bench, tmp_path):
    die(bench, "write", 2)
    Store(tmp_path / "store").backup_path("run-1", "BOARD_1").write_text("damaged")
    assert bench.run().outcome is Outcome.UPDATED


def next_run(bench: Bench, tmp_path) -> None:
    bench.run_id, bench.journal = "run-2", tmp_path / "second.jsonl"


def test_a_new_run_takes_over_the_backup_of_the_one_that_left_the_board_half_written(bench: Bench, tmp_path):
    die(bench, "write", 2)
    next_run(bench, tmp_path)
    bench.board.panics = ("2.0.0",)
    ending = bench.run(plan(left_by="run-1"))
    assert ending.outcome is Outcome.ROLLED_BACK
    assert bytes(bench.board.flash) == bench.old_flash
    assert bench.record.version_before == "1.0.0"
    assert Store(tmp_path / "store").load("run-2", "BOARD_1").blocks


@pytest.mark.parametrize("loss", ["other board", "damaged"])
def test_a_backup_that_is_not_the_boards_is_not_taken_over(bench: Bench, tmp_path, loss: str):
    die(bench, "write", 2)
    half = bytes(bench.board.flash)
    next_run(bench, tmp_path)
    if loss == "damaged":
        Store(tmp_path / "store").backup_path("run-1", "BOARD_1").write_text("{}")
    else:
        bench.board.identity = bench.board.identity.__class__("memory", "v2.0", MAC, len(half))
    bench.board.panics = ("2.0.0",)
    assert bench.run(plan(left_by="run-1")).outcome is Outcome.ROLLED_BACK
    assert bytes(bench.board.flash) == half


deaths = st.tuples(st.integers(1, 60), st.sampled_from(["", "write", "digest", "reset"]), st.integers(0, 40))


@given(struck=st.lists(deaths, max_size=3), panics=st.booleans())
def test_whenever_it_dies_and_however_often_the_board_ends_on_the_old_or_the_new_firmware(
    struck, panics, tmp_path_factory
):
    bench = Bench(tmp_path_factory.mktemp("bench"))
    bench.board.panics = ("2.0.0",) if panics else ()
    for death in (Death(bench, *drawn) for drawn in struck):
        bench.board.fail = death
        bench.run()
        if not death.happened:
            break
        death.strike()
        assert settle(bench.record, "its worker process died").outcome in (Outcome.EMERGENCY, Outcome.UNTOUCHED)
    else:
        bench.run()
    ended = bench.record
    assert ended.outcome is (Outcome.ROLLED_BACK if panics else Outcome.UPDATED)
    check_the_truth(bench, Ending(ended.outcome))


@given(fault=st.builds(FailAt, st.sampled_from(["connect", "digest", "write"]), st.integers(1, 30)), death=deaths)
def test_what_fails_after_a_death_is_told_as_it_is(fault, death, tmp_path_factory):
    bench = Bench(tmp_path_factory.mktemp("bench"))
    struck = Death(bench, *death)
    bench.board.fail = struck
    ending = bench.run()
    if struck.happened:
        struck.strike()
        bench.board.fail = fault
        ending = bench.run()
    check_the_truth(bench, ending)


# The batch's own rollback


def test_an_update_that_went_well_can_be_taken_back(bench: Bench):
    bench.run()
    ending = bench.run(restore=True)
    assert (ending.outcome, ending.error) == (Outcome.RESTORED, None)
    assert bytes(bench.board.flash) == bench.old_flash
    record = bench.record
    assert (record.outcome, record.update_outcome, record.version_after) == (
        Outcome.RESTORED,
        Outcome.UPDATED,
        "1.0.0",
    )


def test_a_board_without_a_backup_stays_on_the_new_firmware(bench: Bench, tmp_path):
    bench.run()
    Store(tmp_path / "store").backup_path("run-1", "BOARD_1").unlink()
    ending = bench.run(restore=True)
    assert (ending.outcome, ending.reason) == (Outcome.UPDATED, "not restored: there is no backup of it")
    assert bytes(bench.board.flash) == bench.new_flash


def test_a_restore_that_fails_is_an_emergency(bench: Bench):
    bench.run()
    bench.board.fail = FailAt("write", 1, FlashFailed("refused"), times=1000)
    ending = bench.run(restore=True)
    assert (ending.outcome, ending.error.phase) == (Outcome.EMERGENCY, Phase.ROLLBACK)


def test_a_restore_that_dies_before_it_writes_leaves_the_board_updated(bench: Bench):
    bench.run()
    bench.journal.write_bytes(
        bench.journal.read_bytes()
        + b'{"at": 1790000000.0, "event": "started", "pid": 1, "worker": "gw1", "restoring": true}\n'
    )
    settled = settle(bench.record, "its worker process died")
    assert (settled.outcome, settled.reason) == (Outcome.UPDATED, "not restored: its worker process died")
    assert bench.run(restore=True).outcome is Outcome.RESTORED


@given(nth=st.integers(1, 40))
def test_a_restore_that_dies_at_any_moment_is_done_when_it_is_taken_up_again(nth, tmp_path_factory):
    bench = Bench(tmp_path_factory.mktemp("bench"))
    bench.run()
    death = Death(bench, nth)
    bench.board.fail = death
    bench.run(restore=True)
    if death.happened:
        death.strike()
        assert bench.run(restore=True).outcome is Outcome.RESTORED
    assert bytes(bench.board.flash) == bench.old_flash


def test_a_death_is_the_interruptions_error_where_there_is_no_other(bench: Bench):
    die(bench, "write", 2)
    assert settle(bench.record, "its worker process died").error.kind == INTERRUPTED
    assert bench.board.flash[APP : APP + BLOCK] != bench.old_flash[APP : APP + BLOCK]
