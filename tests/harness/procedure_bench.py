"""The procedure on a board in memory, with a real journal, store and port lock."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from drivers.base import Segment
from harness.batch import Expect
from harness.console import Console
from harness.device import Device, Ending
from harness.journal import Journal, read
from harness.locks import PortLock
from harness.procedure import BoardTest, Procedure, Tools
from harness.record import DeviceRecord, Outcome, fold
from harness.retry import RetryPolicy
from harness.safekeeping import Safekeeper
from harness.snapshot import DevicePlan, ExpectedIdentity, Limits, PlannedImage
from harness.store import Store
from tests.harness.memory_board import APP, MAC, MemoryBoard, MemoryDriver, MemorySession, firmware

LIMITS = Limits(
    device_s=30, lock_s=1, identify_s=5, backup_s=5, flash_s=5, verify_s=5, boot_s=5, test_s=5, rollback_s=5
)


def plan(new: str = "2.0.0", **changes: Any) -> DevicePlan:
    image = firmware(new)
    fields: dict[str, Any] = {
        "device_id": "BOARD_1",
        "device_type": "memory",
        "chip": "memory",
        "port": "/dev/memory",
        "baudrate": 115200,
        "flash_baudrate": 921600,
        "images": (
            PlannedImage(
                path=Path("app.bin"),
                address=APP,
                size=len(image),
                sha256=hashlib.sha256(image).hexdigest(),
                version=new,
            ),
        ),
        "version": new,
        "expect": Expect(version_within=0.05, settle=0),
        "expected": ExpectedIdentity(serial=MAC),
        "limits": LIMITS,
        "retry_policy": RetryPolicy(3, 0.001, True),
        "backup": True,
        "backup_scope": "flash",
        "verify": True,
        "rollback": True,
        "reflash": False,
        "tests": (),
    }
    return DevicePlan(**(fields | changes))


class Bench:
    """One memory board on version 1.0.0, and the run of the procedure on it."""

    def __init__(self, tmp_path: Path, driver: MemoryDriver | None = None) -> None:
        self.run_id = "run-1"
        self.board = driver.board if driver else MemoryBoard()
        self.board.put("1.0.0")
        self.old_flash = bytes(self.board.flash)
        self.driver = driver or MemoryDriver(self.board)
        self.store = Store(tmp_path / "store")
        self.journal = tmp_path / "journal.jsonl"
        self.lock_dir = tmp_path / "locks"

    def run(
        self, device_plan: DevicePlan | None = None, tests: tuple[BoardTest, ...] = (), *, restore: bool = False
    ) -> Ending:
        device_plan = device_plan or plan()
        images = [Segment(APP, firmware(device_plan.version), "app.bin")]
        lock = PortLock(device_plan.port, self.run_id, device_plan.device_id, self.lock_dir)
        with Journal(self.journal) as journal, lock:
            device = Device(device_plan, self.driver, images, journal, self.run_id, self.record)
            session = device.open_session()
            procedure = Procedure(device, self._tools(device, session, lock, tests))
            ending = procedure.restore() if restore else procedure.run()
            device.end(ending)
            return ending

    def _tools(self, device: Device, session: MemorySession, lock: PortLock, tests: tuple[BoardTest, ...]) -> Tools:
        keeper = Safekeeper(device, session, self.store)
        console = Console(session, device.heard)
        return Tools(lock, session, keeper.take, keeper.restore, console, self.store, tests, "gw0")

    @property
    def record(self) -> DeviceRecord:
        return fold(DeviceRecord("BOARD_1", "memory", "/dev/memory"), read(self.journal))

    @property
    def new_flash(self) -> bytes:
        new = bytearray(self.old_flash)
        image = firmware("2.0.0")
        new[APP : APP + len(image)] = image
        return bytes(new)


def check_the_truth(bench: Bench, ending: Ending) -> None:
    flash = bytes(bench.board.flash)
    if ending.outcome is Outcome.UPDATED:
        assert flash == bench.new_flash
    elif ending.outcome in (Outcome.ROLLED_BACK, Outcome.UNTOUCHED):
        assert flash == bench.old_flash
    else:
        assert ending.outcome is Outcome.EMERGENCY
