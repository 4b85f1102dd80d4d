"""What is done to one device, from top to bottom; names no family.

    lock → (identify → backup → flash → verify, again where that helps) → boot → test → commit
                                                                        ↘ anything failed → rollback

It ends in one of the states of `Outcome`: on the new firmware, verified; on the firmware that it had, verified; or
in an emergency, which is said aloud. A device that was cut short in an earlier try goes on as `recovery` says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from drivers.base import BootFailed, DeviceError, Interface, Segment, Session, VerificationFailed
from harness import boot, identity, retry
from harness.config import LogLevel
from harness.console import Console
from harness.deadline import limit
from harness.device import Device, Ending, PhaseNotes, as_device_error, error_record
from harness.locks import PortLock
from harness.record import ErrorRecord, Outcome, Phase
from harness.recovery import Way, why_restored
from harness.safekeeping import NothingToRestore, Safekeeper
from harness.store import Backup, Store, StoreError, in_words, restored_in_words, seen_in_words

_BY_WIRE = "If it does not come back to the network, reach it by its serial line."
_RESET_LIMIT_S = 15.0  # for a last reset on the way out; nothing depends on it


@dataclass(frozen=True)
class BoardTest:
    """A test of the batch's own. `run` raises a `DeviceError`; it returns why it was skipped, or an empty text."""

    name: str
    run: Callable[[], str]


@dataclass(frozen=True)
class Tools:
    """What the fixtures hand to the procedure; a user's conftest may have replaced any of them."""

    lock: PortLock
    session: Session
    backup: Callable[[], Backup | None]
    rollback: Callable[[Backup], int]  # returns the bytes that it wrote
    console: Console
    store: Store
    tests: Sequence[BoardTest]
    worker: str


class Procedure:
    """One device's way through the phases."""

    def __init__(self, device: Device, tools: Tools) -> None:
        self._device = device
        self._plan = device.plan
        self._limits = device.plan.limits
        self._tools = tools
        self._session = tools.session
        self._backup: Backup | None = None
        self._can = device.driver.capabilities
        self._phase = Phase.LOCK
        self._reported: str | None = None  # the version that the board told once the new firmware was to run

    def run(self) -> Ending:
        """Whatever goes wrong becomes the device's ending; nothing is raised.

        Not even what is no `Exception`: a lab's fixture or test may call sys.exit or pytest.skip, and signals are the
        controller's (`stopping.py`), so that a KeyboardInterrupt is the lab's too.
        """
        if self._device.way is Way.RESTORE and self._device.found.restoring:
            return self.restore()
        try:
            with limit(self._limits.device_s, "the whole device"):
                self._begin()
                if self._device.way is not Way.RESTORE:
                    return self._update()
        except BaseException as error:  # noqa: BLE001  (the item's boundary: no fault may leave a board half-written)
            return self._after_failure(error_record(as_device_error(error), self._phase))
        return self._after_failure(why_restored(self._device.found))

    def restore(self) -> Ending:
        """Take back an update that went well: the rollout as a whole has failed. Nothing is raised, as in `run`."""
        try:
            self._begin(restoring=True)
            if self._backup is None:
                return Ending(Outcome.UPDATED, reason="not restored: there is no backup of it")
            return self._take_back(self._backup)
        except BaseException as error:  # noqa: BLE001  (as in `run`)
            record = error_record(as_device_error(error), self._phase)
            if self._phase is not Phase.LOCK:
                return self._emergency(record, f"the rollback failed: {record.message}")
            return Ending(Outcome.UPDATED, record, f"not restored: {record.message}")

    def _take_back(self, backup: Backup) -> Ending:
        """One of which no earlier firmware is known stays on the new one, by the same proof as after its update."""
        try:
            return Ending(Outcome.RESTORED, reason=self._roll_back(backup))
        except NothingToRestore:
            self._boot()
        return Ending(Outcome.UPDATED, reason="not taken back: no earlier firmware of it is known")

    def _begin(self, *, restoring: bool = False) -> None:
        self._device.start(self._tools.worker, restoring=restoring)
        self._lock()
        if restoring or self._device.way is not Way.BEGIN:
            self._backup = self._backup_of_before()

    def _backup_of_before(self) -> Backup | None:
        """Taken before the board was first written to; without it, finishing is still worth a try."""
        try:
            return self._tools.store.load(self._device.run_id, self._device.device_id)
        except StoreError as error:
            self._device.log(f"the backup can not be used: {error}", LogLevel.ERROR)
            return None

    def _update(self) -> Ending:
        retry.call(self._attempt, self._plan.retry_policy, self._before_retry)
        self._boot()
        self._test()
        return self._commit()

    def _enter(self, phase: Phase, limit_s: float) -> AbstractContextManager[PhaseNotes]:
        self._phase = phase
        return self._device.phase(phase, limit_s)

    def _lock(self) -> None:
        with self._enter(Phase.LOCK, self._limits.lock_s + 5) as notes:
            self._tools.lock.acquire(self._limits.lock_s, lambda text: self._device.log(text, LogLevel.WARNING))
            notes.detail = self._tools.lock.port

    def _before_retry(self, _attempt: int, pause_s: float, error: DeviceError) -> None:
        self._device.will_retry(pause_s, error)
        if self._session.slow_down():
            self._device.log(f"next attempt at {self._session.flash_baudrate} baud", LogLevel.WARNING)

    def _attempt(self, _number: int) -> None:
        self._device.begin_attempt(self._session.flash_baudrate)
        self._identify()
        if self._backup is None and self._device.way is Way.BEGIN:  # what is half-written is nobody's backup
            self._take_backup()
        self._flash()
        self._verify()

    def _identify(self) -> None:
        with self._enter(Phase.IDENTIFY, self._limits.identify_s) as notes:
            found = self._session.connect()
            before = self._device.identity
            self._device.identified(found)
            identity.check(self._plan, self._device.driver, found, before)
            if self._plan.check_compatibility:
                identity.check_images(self._device.images, self._device.driver, found)
            if not self._device.touched:
                self._device.tell_version("before", self._session.installed_version(self._plan.main_image.address))
            notes.detail = " ".join(filter(None, (found.chip, found.revision, found.serial)))

    def _take_backup(self) -> None:
        with self._enter(Phase.BACKUP, self._limits.backup_s) as notes:
            if not self._plan.backup:
                return notes.skip("backup_before_flash is off")
            self._backup = self._backup_of_other() or self._tools.backup()
            if self._backup is None:
                return notes.skip("the board can not be read back, and no image of what it runs is known")
            notes.detail = in_words(self._backup)
            notes.figures["bytes"] = sum(block.size for block in self._backup.blocks)
        return None

    def _backup_of_other(self) -> Backup | None:
        """That of the run which has left the board half-written; what it holds now is nobody's."""
        if not self._plan.left_by:
            return None
        try:
            found = self._tools.store.load(self._plan.left_by, self._device.device_id)
            if found is None or found.identity != self._device.identity:
                return None
            kept = found.model_copy(update={"run_id": self._device.run_id})
            self._tools.store.save(kept)
        except StoreError as error:
            self._device.log(f"the backup of run {self._plan.left_by} can not be used: {error}", LogLevel.ERROR)
            return None
        self._device.log(f"run {self._plan.left_by} has left it half-written: the backup from then stands")
        self._device.tell_version("before", kept.version)
        return kept

    def _flash(self) -> None:
        with self._enter(Phase.FLASH, self._limits.flash_s) as notes:
            needed = self._images_to_write()
            if not needed:
                return notes.skip("the board holds these images already")
            self._device.touched = True
            self._session.write(needed, self._device.progress)
            notes.figures["bytes"] = sum(len(image.data) for image in needed)
        return None

    def _images_to_write(self) -> Sequence[Segment]:
        if self._plan.reflash:
            return self._device.images
        return [image for image in self._device.images if not self._session.holds(image)]

    def _verify(self) -> None:
        with self._enter(Phase.VERIFY, self._limits.verify_s) as notes:
            if not self._plan.verify:
                return notes.skip("verify_after_flash is off")
            shown = [self._verify_image(image) for image in self._device.images]
            if not all(shown) and not self._can.can_verify:
                return notes.skip("nothing shows what the board holds before it runs")
            notes.detail = "" if all(shown) else "as the board checked what it received"
            notes.figures["bytes"] = sum(len(image.data) for image in self._device.images)
        return None

    def _verify_image(self, image: Segment) -> bool:
        """Whether the board shows that it holds the image; False where nothing tells."""
        held = self._session.holds(image)
        if held is False:
            raise VerificationFailed(f"the flash at {image.address:#x} does not hold {image.name}")
        return held is not None

    def _boot(self) -> None:
        with self._enter(Phase.BOOT, self._limits.boot_s) as notes:
            version = self._reported = self._restart(boot.Wanted.from_plan(self._plan))
            self._device.tell_version("after", version or self._device.version)
            notes.detail = f"reports {version}" if version else "no version reported"

    def _restart(self, wanted: boot.Wanted) -> str | None:
        self._tools.console.clear()
        self._session.reset()
        return boot.watch(self._tools.console, self._device.driver, wanted)

    def _test(self) -> None:
        if not self._tools.tests:
            return
        with self._enter(Phase.TEST, self._limits.test_s) as notes:
            results = [f"{test.name}: {self._run_test(test)}" for test in self._tools.tests]
            notes.detail = ", ".join(results)

    def _run_test(self, test: BoardTest) -> str:
        self._device.log(f"test {test.name}")
        skipped = test.run()
        return f"skipped ({skipped})" if skipped else "passed"

    def _commit(self) -> Ending:
        if self._can.has_slots:
            self._confirm()
        self._remember(lambda keeper: keeper.remember_good())
        return Ending(Outcome.UPDATED if self._device.touched else Outcome.UNCHANGED)

    def _remember(self, what: Callable[[Safekeeper], None]) -> None:
        try:
            what(Safekeeper(self._device, self._session, self._tools.store))
        except StoreError as error:
            self._device.log(f"later backups will not know this firmware: {error}", LogLevel.WARNING)

    def _confirm(self) -> None:
        """Where the version does not show which firmware runs, a boot loader may have gone back to the old one."""
        with self._enter(Phase.CONFIRM, self._limits.identify_s) as notes:
            self._session.confirm()
            if self._reported not in (None, self._device.version_before):
                return
            runs = [self._session.holds(image) for image in self._device.images]
            if False in runs:
                raise BootFailed(
                    "the board runs the firmware that it had: its boot loader has gone back by itself",
                    advice="The new firmware does not stay up on this board, or does not mark itself as good.",
                )
            if None in runs:
                same = f", which is {self._reported}, too" if self._reported else ""
                notes.skip(f"nothing tells whether it runs the new firmware or the one before{same}")

    def _after_failure(self, record: ErrorRecord) -> Ending:
        if not self._device.touched:
            self._start_application()
            return Ending(Outcome.UNTOUCHED, record)
        if not self._tools.lock.is_held:
            return self._emergency(record, "half-written earlier, and its port could not be had now")
        if not self._plan.rollback:
            return self._emergency(record, "written but not good, and rollback_on_failure is off")
        if self._backup is None:
            return self._emergency(record, "written but not good, and there is no backup to restore")
        try:
            reason = self._roll_back(self._backup)
        except BaseException as fault:  # noqa: BLE001  (as in `run`: nothing may hide that this board is on neither firmware)
            return self._emergency(record, f"the rollback failed: {as_device_error(fault).message}")
        return Ending(Outcome.ROLLED_BACK, record, reason)

    def _emergency(self, record: ErrorRecord, reason: str) -> Ending:
        if self._device.driver.interface is Interface.NETWORK:
            record = replace(record, advice=f"{record.advice} {_BY_WIRE}")
        return Ending(Outcome.EMERGENCY, record, reason)

    def _start_application(self) -> None:
        """Nothing was written: leave the board running what it has, if it can be reached at all.

        Also one that never said who it is: it may have come as far as its boot loader, and would stay there.
        """
        if not self._tools.lock.is_held:
            return
        try:
            with limit(_RESET_LIMIT_S, "the last reset"):
                self._session.reset()
        except DeviceError as error:
            self._device.log(f"could not start the application again: {error}", LogLevel.WARNING)

    def _roll_back(self, backup: Backup) -> str:
        with self._enter(Phase.ROLLBACK, self._limits.rollback_s) as notes:
            retry.call(
                lambda _number: self._restore(backup, notes), self._plan.retry_policy, self._before_restoring_again
            )
            written = int(notes.figures["bytes"])
            notes.detail = restored_in_words(backup, written)
            self._remember(lambda keeper: keeper.remember_restored(backup))
            return self._start_previous(backup) if self._can.can_read_back else seen_in_words(backup, written)

    def _before_restoring_again(self, attempt: int, pause_s: float, error: DeviceError) -> None:
        self._session.slow_down()
        self._device.log(f"rollback, attempt {attempt}: {error}; again in {pause_s:.1f} s", LogLevel.WARNING)

    def _restore(self, backup: Backup, notes: PhaseNotes) -> None:
        """Until it is proven: by reading back where the family can, else by its start."""
        found = self._session.connect()
        identity.check(self._plan, self._device.driver, found, backup.identity)
        notes.figures["bytes"] = notes.figures.get("bytes", 0) + self._tools.rollback(backup)
        if not self._can.can_read_back:
            self._see_previous(backup, sent=notes.figures["bytes"] > 0)

    def _start_previous(self, backup: Backup) -> str:
        """The flash is proven; whether the old firmware says so at its start is only noted."""
        wanted = boot.Wanted.previous(self._plan, backup.version)
        try:
            version = self._restart(wanted)
        except (BootFailed, DeviceError) as error:
            said = boot.reported(self._tools.console.text, self._device.driver, wanted)
            self._device.tell_version("after", said or backup.version)
            return f"restored and verified, but its start was not seen: {error}"
        self._device.tell_version("after", version or backup.version)
        return ""

    def _see_previous(self, backup: Backup, *, sent: bool) -> None:
        """Nothing but its start shows which firmware a board runs that can not be read back.

        One that does not start may not have been written whole, which another attempt mends: `VerificationFailed`.
        One that tells no version, and to which nothing was sent on the way back, is on the old one as its driver
        says: `revert` has proven it, and that the board is there is all that can still be seen.
        """
        can_tell = sent or not self._device.tells_no_version
        wanted = boot.Wanted.anything_from(self._plan, backup.version if can_tell else None)
        try:
            version = self._restart(wanted)
        except BootFailed as error:
            raise VerificationFailed(error.message, advice=error.advice) from error
        self._device.tell_version("after", version or backup.version)
