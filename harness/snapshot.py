"""What a run does, to the last detail: the plan that travels as `plan.json` and that every worker acts on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, JsonValue

from drivers.virtual.spec import BoardSpec
from harness.batch import Expect, Strategy
from harness.config import BackupScope, LogLevel
from harness.retry import RetryPolicy
from harness.rollout.policy import RolloutPolicy


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PlannedImage(_Frozen):
    """A firmware file as it was when the plan was made; the facts are what it says of itself.

    `address` and `size` (in bytes) are of the memory that it covers, `given_address` is the one that the batch says,
    for a file without addresses of its own.
    """

    path: Path
    address: int
    size: int
    sha256: str
    given_address: int | None = None
    chip: str | None = None
    project: str | None = None
    version: str | None = None

    @property
    def end(self) -> int:
        """The first address after the image."""
        return self.address + self.size


class ExpectedIdentity(_Frozen):
    """Who must answer on the port; None where anybody may. `flash_size` in bytes."""

    serial: str | None = None  # the MAC of an ESP
    flash_size: int | None = None
    revision: str | None = None


class Limits(_Frozen):
    """Time limits in seconds. `device_s` bounds all of it but a rollback, which has its own."""

    device_s: float
    lock_s: float
    identify_s: float
    backup_s: float
    flash_s: float
    verify_s: float
    boot_s: float
    test_s: float
    rollback_s: float


class DevicePlan(_Frozen):
    """What is done to one device. Rates in baud; what its `drivers.base.Link` is made of has the names from there."""

    device_id: str
    device_type: str
    chip: str
    port: str
    baudrate: int
    flash_baudrate: int
    images: tuple[PlannedImage, ...]
    version: str
    expect: Expect
    expected: ExpectedIdentity
    limits: Limits
    retry_policy: RetryPolicy
    backup: bool
    backup_scope: BackupScope
    verify: bool
    rollback: bool
    reflash: bool
    tests: tuple[Path, ...]
    mount_point: str = ""
    usb: str = ""
    options: Mapping[str, JsonValue] = {}
    connect_timeout_s: float = 30.0
    read_timeout_s: float = 60.0
    previous: PlannedImage | None = None
    virtual: BoardSpec | None = None
    check_compatibility: bool = True
    """Images that the board would not start are refused."""
    left_by: str = ""
    """The run that has left the board half-written: its backup stands for what the board had."""

    @property
    def place(self) -> str:
        """Where the board is, for people and for its lock: the handle that stays, whichever firmware runs."""
        return self.mount_point or (f"usb://{self.usb}" if self.usb else self.port)

    @property
    def files(self) -> tuple[PlannedImage, ...]:
        """Every firmware file that the run may need."""
        return (*self.images, self.previous) if self.previous else self.images

    @property
    def main_image(self) -> PlannedImage:
        """The application: the image of the wanted version, else one with any version, else the largest."""
        return max(
            self.images, key=lambda image: (image.version == self.version, image.version is not None, image.size)
        )


class Plan(_Frozen):
    """What a run does. Made by `sealed`; `digest` is over everything else in it, the images' hashes included."""

    batch_name: str
    description: str
    version: str  # of all devices; joined by commas where they differ
    batch_file: Path
    strategy: Strategy
    rollout: RolloutPolicy
    rehearsal: bool  # virtual twins in the place of all boards
    quarantine_after: int  # failed runs in a row; 0: never
    devices: tuple[DevicePlan, ...]
    runs_dir: Path
    store_dir: Path
    ledger: str  # a path or a database's URL
    log_level: LogLevel
    digest: str

    @classmethod
    def sealed(cls, **content: Any) -> Self:
        """The plan of this content, with its digest."""
        blank = cls(**content, digest="")
        return blank.model_copy(update={"digest": blank.computed_digest()})

    def computed_digest(self) -> str:
        """SHA-256 over the canonical JSON of everything but the digest."""
        content = self.model_dump(mode="json", exclude={"digest"})
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def with_ports(self, connections: Mapping[str, Mapping[str, str]]) -> Self:
        """The same plan, with the ports on which a bench has put these devices."""
        return self._with_each(connections)

    def left_by(self, runs: Mapping[str, str]) -> Self:
        """The same plan, with the runs that have left these devices half-written."""
        return self._with_each({device_id: {"left_by": run} for device_id, run in runs.items()})

    def _with_each(self, changes: Mapping[str, Mapping[str, str]]) -> Self:
        devices = tuple(device.model_copy(update=dict(changes.get(device.device_id, {}))) for device in self.devices)
        changed = self.model_copy(update={"devices": devices})
        return changed.model_copy(update={"digest": changed.computed_digest()})
