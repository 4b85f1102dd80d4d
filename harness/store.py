"""Content-addressed blocks of flash, and the backups that are lists of them.

A block is named after its MD5, the digest that boot loaders compute of their own flash: a board's answer says whether
the store has the block already, and then it need not be read. The name is checked whenever a block is read, and a
restored block is verified by the board again, so a damaged file is found and never written.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from drivers.base import Identity, Region


class StoreError(Exception):
    """The store can not give what it should hold, or can not take more."""


class Block(BaseModel):
    """`size` bytes at `address`, with the given MD5 in hex."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: int
    size: int
    md5: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]

    @property
    def region(self) -> Region:
        return Region(self.address, self.size)


class BackupSource(StrEnum):
    """Where a backup comes from; what a restore can promise follows from it."""

    FLASH = "flash"  # read from the board itself
    LAST_GOOD = "last-good"  # the image that a run put on it and saw working; the board can not be read back
    NAMED = "named"  # the image that the batch says is on it; the board can not be read back
    SLOT = "slot"  # nothing but the slot of the board that is not written


class Backup(BaseModel):
    """What a board held before it was written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_id: str
    device_id: str
    identity: Identity
    version: str | None
    taken_at: float  # seconds since the epoch
    source: BackupSource = BackupSource.FLASH
    blocks: tuple[Block, ...]


def in_words(backup: Backup) -> str:
    """What it is, as the reports say it."""
    image = f"image ({backup.version})" if backup.version else "image"
    return {
        BackupSource.FLASH: f"{len(backup.blocks)} blocks",
        BackupSource.LAST_GOOD: f"the last good {image}: the board can not be read back",
        BackupSource.NAMED: f"the batch's previous {image}: the board can not be read back",
        BackupSource.SLOT: "the board's other slot: it can not be read back",
    }[backup.source]


def restored_in_words(backup: Backup, written: int) -> str:
    """What putting it back has done, as the reports say it."""
    if backup.source is BackupSource.FLASH:
        return f"{written} bytes restored and verified"
    if not written:
        return "the board runs the firmware in its other slot"
    return f"{in_words(backup)}; {written} bytes sent again"


def seen_in_words(backup: Backup, written: int) -> str:
    """What is known of a board that can not be read back and has started again, as the reports say it."""
    if not written:
        return "it runs from the board's other slot"
    named = "last good" if backup.source is BackupSource.LAST_GOOD else "previous"
    return f"the {named} image was sent again, and runs; the board can not be read back"


def digest(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


class Store:
    """Blocks under `<root>/blocks`, backups under `<root>/backups`, what boards that can not be read back hold under
    `<root>/last-good`. Any number of processes may share one.
    """

    def __init__(self, root: Path) -> None:
        self._blocks = root / "blocks"
        self._backups = root / "backups"
        self._last_good = root / "last-good"

    def put(self, data: bytes) -> str:
        """Keep a block, on disk when this returns; its MD5. Raises `StoreError` when it can not be written."""
        md5 = digest(data)
        if not self.has(md5):
            _write(self._path(md5), data)
        return md5

    def has(self, md5: str) -> bool:
        return self._path(md5).exists()

    def get(self, md5: str) -> bytes:
        """A block's bytes. Raises `StoreError` when it is missing or damaged."""
        path = self._path(md5)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise StoreError(f"block {md5} can not be read: {error}") from error
        if digest(data) != md5:
            raise StoreError(f"block {md5} is damaged: {path}")
        return data

    def save(self, backup: Backup) -> Path:
        path = self.backup_path(backup.run_id, backup.device_id)
        _write(path, backup.model_dump_json(indent=1).encode())
        return path

    def load(self, run_id: str, device_id: str) -> Backup | None:
        """A device's backup of a run; None when none was taken. Raises `StoreError` when it can not be read."""
        return _load(self.backup_path(run_id, device_id))

    def save_last_good(self, backup: Backup, *, virtual: bool) -> None:
        """What a device holds from now on, seen working. Raises `StoreError`.

        A virtual board has a place of its own: the real one of that name holds something else.
        """
        _write(self._last_good_path(backup.device_id, virtual=virtual), backup.model_dump_json(indent=1).encode())

    def forget_last_good(self, device_id: str, *, virtual: bool) -> None:
        """It holds something else, of which there is no image. Raises `StoreError`."""
        try:
            self._last_good_path(device_id, virtual=virtual).unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"the last good image of {device_id} can not be forgotten: {error}") from error

    def last_good(self, device_id: str, *, virtual: bool) -> Backup | None:
        """What a device was last seen working with; None when that is not known. Raises `StoreError`."""
        return _load(self._last_good_path(device_id, virtual=virtual))

    def _last_good_path(self, device_id: str, *, virtual: bool) -> Path:
        folder = self._last_good / "virtual" if virtual else self._last_good
        return folder / f"{device_id}.json"

    def backup_path(self, run_id: str, device_id: str) -> Path:
        return self._backups / device_id / f"{run_id}.json"

    def content(self, backup: Backup) -> bytes:
        """The bytes of a backup from its first address to its last; gaps, which were not backed up, as 0xFF."""
        if not backup.blocks:
            return b""
        start = min(block.address for block in backup.blocks)
        image = bytearray(b"\xff" * (max(block.region.end for block in backup.blocks) - start))
        for block in backup.blocks:
            image[block.address - start : block.region.end - start] = self.get(block.md5)
        return bytes(image)

    def _path(self, md5: str) -> Path:
        return self._blocks / md5[:2] / md5


def _load(path: Path) -> Backup | None:
    try:
        return Backup.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StoreError(f"backup {path} can not be read: {error}") from error


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all, and on disk: a backup that a power cut can take back is none."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".new-", delete=False) as file:
            temporary = Path(file.name)
            try:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                temporary.replace(path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise StoreError(f"{path} can not be written: {error}") from error
