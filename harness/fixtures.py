"""The fixtures of a device's item. They are public: a user's conftest may override any of them.

device      the target: its plan, its identity, its log
port_lock   the port, ours alone until the item ends
session     the driver's open line to the board, closed whatever happens
backup      a callable that reads what the board holds into the store
rollback    a callable that writes a backup back and verifies it
console     what the application prints
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

import drivers
from drivers.base import Session
from harness.batchrun import run_of
from harness.board_tests import load_board_tests
from harness.config import LogLevel
from harness.console import Console
from harness.device import Device
from harness.journal import Journal
from harness.locks import PortLock
from harness.procedure import BoardTest
from harness.run_reader import device_record
from harness.safekeeping import Safekeeper
from harness.snapshot import DevicePlan
from harness.store import Backup, Store

_LAST_WRITER_S = 30.0

BackupTaker = Callable[[], Backup | None]
Restorer = Callable[[Backup], int]


@pytest.fixture
def device(request: pytest.FixtureRequest, device_plan: DevicePlan) -> Iterator[Device]:
    """The target of this item."""
    run = run_of(request.config)
    driver = drivers.load_driver(device_plan.device_type)
    images = run.folder.images(device_plan)
    # A run that is resumed may find workers of a killed one, which execnet ends within 15 s.
    with Journal(run.folder.journal(device_plan.device_id), run.clock, _LAST_WRITER_S) as journal:
        found = device_record(run.folder, device_plan)
        previous = run.folder.previous(device_plan)
        yield Device(device_plan, driver, images, journal, run.folder.run_id, found, run.plan.log_level, previous)


@pytest.fixture
def port_lock(device: Device) -> Iterator[PortLock]:
    """The lock of the device's port; the procedure takes it first, and it is held until the session is closed."""
    with PortLock(device.plan.place, device.run_id, device.device_id) as lock:
        yield lock


@pytest.fixture
def session(request: pytest.FixtureRequest, device: Device, port_lock: PortLock) -> Iterator[Session]:  # noqa: ARG001  (closed before the lock is released)
    """The driver's session, not connected yet."""
    opened = device.open_session(trace=run_of(request.config).plan.log_level is LogLevel.DEBUG)
    yield opened
    opened.close()


@pytest.fixture
def store(request: pytest.FixtureRequest) -> Store:
    """The site's store of blocks and backups."""
    return Store(run_of(request.config).plan.store_dir)


@pytest.fixture
def backup(device: Device, session: Session, store: Store) -> BackupTaker:
    """Takes the backup: the whole flash, what the images will cover (`backup_scope`), or what is known of the board."""
    return Safekeeper(device, session, store).take


@pytest.fixture
def rollback(device: Device, session: Session, store: Store) -> Restorer:
    """Writes back what differs from the backup and verifies it; returns the number of bytes written."""
    return Safekeeper(device, session, store).restore


@pytest.fixture
def console(device: Device, session: Session) -> Console:
    """What the application prints since its last reset."""
    return Console(session, device.heard)


@pytest.fixture
def board_tests(request: pytest.FixtureRequest, device_plan: DevicePlan) -> list[BoardTest]:
    """The functions of the batch's `tests:` modules; their arguments are fixtures, `device` and `console` first."""
    return load_board_tests(request, device_plan.tests)
