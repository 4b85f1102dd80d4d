"""What is kept of a board before it is written, and putting it back, by what its family can do.

It can be read back: all of its flash, or what the images cover. It can not: the last image that a run is known to have
put on it, or the one that the batch names; and where the board has slots, the other slot alone.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from drivers import load_driver
from drivers.base import Segment, Session, VerificationFailed
from harness import backup as blocks
from harness.config import BackupScope
from harness.device import Device
from harness.snapshot import DevicePlan
from harness.store import Backup, BackupSource, Block, Store, StoreError


class NothingToRestore(VerificationFailed):
    retryable = False  # no image will be known the next time
    default_advice = "Name the firmware that the boards have as `previous_firmware`: then it can be sent again."


class Safekeeper:
    """Of one device, in its session."""

    def __init__(self, device: Device, session: Session, store: Store) -> None:
        self._device = device
        self._session = session
        self._store = store
        self._capabilities = device.driver.capabilities

    def take(self) -> Backup | None:
        """Keep what the board holds; None where nothing could be put back. Needs the board's identity."""
        kept = self._read_back() if self._capabilities.can_read_back else self._known_image() or self._other_slot()
        if kept is not None:
            self._store.save(kept)
        return kept

    def _read_back(self) -> Backup:
        identity = self._device.identity
        assert identity is not None, "the board is identified before it is read"
        whole = self._device.plan.backup_scope is BackupScope.FLASH
        regions = [identity.flash] if whole else [image.region for image in self._device.images]
        grid = blocks.clip(blocks.split(regions, self._device.driver.hash_block), identity.flash)
        taken = blocks.take(self._session, self._capabilities, grid, self._store, self._device.progress)
        self._device.log(f"backup: {len(taken.blocks)} blocks, {taken.read_bytes} bytes read from the board")
        return self._backup(BackupSource.FLASH, taken.blocks, self._device.version_before)

    def _known_image(self) -> Backup | None:
        """The last one that a run has seen to work, unless the board says that it runs another version now."""
        found = _last_good(self._device.plan, self._store)
        running = self._device.version_before
        if found is not None and found.identity == self._device.identity and running in (None, found.version):
            return found.model_copy(update={"run_id": self._device.run_id, "source": BackupSource.LAST_GOOD})
        if not self._device.previous:
            return None
        named = [_block(segment, self._store) for segment in self._device.previous]
        of_image = self._device.plan.previous.version if self._device.plan.previous else None
        return self._backup(BackupSource.NAMED, named, running or of_image)

    def _other_slot(self) -> Backup | None:
        if not self._capabilities.has_slots:
            return None
        return self._backup(BackupSource.SLOT, (), self._device.version_before)

    def _backup(self, source: BackupSource, kept: Sequence[Block], version: str | None) -> Backup:
        assert self._device.identity is not None, "the board is identified before it is kept"
        return Backup(
            run_id=self._device.run_id,
            device_id=self._device.device_id,
            identity=self._device.identity,
            version=version,
            taken_at=time.time(),
            source=source,
            blocks=tuple(kept),
        )

    def restore(self, kept: Backup) -> int:
        """Put it back and verify it as far as the family can; the bytes written.

        Raises `VerificationFailed`, of which `NothingToRestore` says that nothing was written, for want of an image.
        """
        if self._capabilities.has_slots and self._session.revert(kept.version):
            return 0
        if not kept.blocks:
            raise NothingToRestore("no slot of the board holds the firmware that it had, and no image of it is known")
        end = kept.identity.writable.end if kept.identity.flash_size else None
        ours = [block for block in kept.blocks if end is None or block.region.end <= end]
        return blocks.restore(self._session, self._capabilities, ours, self._store, self._device.progress)

    def remember_good(self) -> None:
        """The board runs this run's images, and they are good. Raises `StoreError`."""
        for segment in self._device.images:
            if self._capabilities.can_read_back:
                blocks.remember(segment, self._device.driver.hash_block, self._store)
        if not self._capabilities.can_read_back and _has_history(self._device.plan):
            kept = [_block(segment, self._store) for segment in self._device.images]
            good = self._backup(BackupSource.LAST_GOOD, kept, self._device.version)
            self._store.save_last_good(good, virtual=self._device.plan.virtual is not None)

    def remember_restored(self, kept: Backup) -> None:
        """The board runs what it had: that, and not what it was given in between, is what is known of it.

        Raises `StoreError`.
        """
        if self._capabilities.can_read_back or not _has_history(self._device.plan):
            return
        virtual = self._device.plan.virtual is not None
        if kept.blocks:
            good = kept.model_copy(update={"source": BackupSource.LAST_GOOD})
            self._store.save_last_good(good, virtual=virtual)
        else:
            self._store.forget_last_good(kept.device_id, virtual=virtual)


def can_not_be_taken_back(device: DevicePlan, store: Store) -> bool:
    """Whether nothing could be put back, should the new firmware or the rollout fail; as far as can be foreseen."""
    can = load_driver(device.device_type).capabilities
    if can.can_read_back or (can.has_slots and can.can_revert) or device.previous is not None:
        return False
    try:
        return _last_good(device, store) is None
    except StoreError:
        return True


def _last_good(device: DevicePlan, store: Store) -> Backup | None:
    if not _has_history(device):
        return None
    return store.last_good(device.device_id, virtual=device.virtual is not None)


def _has_history(device: DevicePlan) -> bool:
    """A twin that begins each run as from the factory has none; and a real board must never be given a twin's."""
    return device.virtual is None or device.virtual.keep


def _block(segment: Segment, store: Store) -> Block:
    return Block(address=segment.address, size=len(segment.data), md5=store.put(segment.data))
