"""The items of one device, as pytest finds them in a batch file: the procedure with the fixtures.

A module of its own: pytest takes everything in it for the batch file's, and fixtures here would win over a lab's.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from drivers.base import Session
from harness.batchrun import run_of
from harness.console import Console
from harness.device import Device, Ending
from harness.fixtures import BackupTaker, Restorer
from harness.locks import PortLock
from harness.procedure import BoardTest, Procedure, Tools
from harness.record import Outcome
from harness.snapshot import DevicePlan
from harness.store import Store

ENDING_PROPERTY = "batch-flash-ending"
"""The name under which an item's ending travels to the controller, should the journal have missed it (a full disk)."""


UPDATE = "test_flash"
RESTORE = "restore"
"""No `test_` before it: pytest is to collect it only when it is asked to (`holding.py`)."""

_ITEM = re.compile(rf"(?:^|::)({UPDATE}|{RESTORE})\[([^\[\]]+)\]$")


def device_id_of(nodeid: str) -> str | None:
    """The device of a node id, None for an item that is no device's."""
    found = _ITEM.search(nodeid)
    return found[2] if found else None


def is_restore(nodeid: str) -> bool:
    """Whether it is the item that takes a device's update back."""
    found = _ITEM.search(nodeid)
    return found is not None and found[1] == RESTORE


def restore_id(nodeid: str) -> str:
    """The node id of the item that takes a device's update back, from that of the update."""
    file, _, device = nodeid.rpartition(f"{UPDATE}[")
    return f"{file}{RESTORE}[{device}"


def update_id(nodeid: str) -> str:
    """The node id of a device's update, from that of the item that takes it back; any other as it is."""
    file, _, device = nodeid.rpartition(f"{RESTORE}[")
    return f"{file}{UPDATE}[{device}" if is_restore(nodeid) else nodeid


def node_id(batch_file: Path, root: Path, device_id: str) -> str:
    """The node id that pytest gives to a device's item."""
    return f"{Path(os.path.relpath(batch_file, root)).as_posix()}::{UPDATE}[{device_id}]"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """An item per device of the run's snapshot, marked with its type."""
    devices = [
        pytest.param(device, id=device.device_id, marks=getattr(pytest.mark, device.device_type))
        for device in run_of(metafunc.config).plan.devices
    ]
    metafunc.parametrize("device_plan", devices)


def test_flash(
    request: pytest.FixtureRequest,
    device_plan: DevicePlan,  # noqa: ARG001  (what the items differ in, whatever a lab's fixtures ask for)
    device: Device,
    port_lock: PortLock,
    session: Session,
    backup: BackupTaker,
    rollback: Restorer,
    console: Console,
    store: Store,
    board_tests: list[BoardTest],
) -> None:
    """The item: the procedure with the fixtures; it fails with the device's ending in words."""
    tools = Tools(
        lock=port_lock,
        session=session,
        backup=backup,
        rollback=rollback,
        console=console,
        store=store,
        tests=board_tests,
        worker=run_of(request.config).worker,
    )
    _conclude(request, device, Procedure(device, tools).run())


def restore(
    request: pytest.FixtureRequest,
    device_plan: DevicePlan,  # noqa: ARG001  (as above)
    device: Device,
    port_lock: PortLock,
    session: Session,
    rollback: Restorer,
    console: Console,
    store: Store,
) -> None:
    """The item that is run when the rollout has failed: it takes the device's update back."""
    tools = Tools(
        lock=port_lock,
        session=session,
        backup=lambda: None,
        rollback=rollback,
        console=console,
        store=store,
        tests=(),
        worker=run_of(request.config).worker,
    )
    _conclude(request, device, Procedure(device, tools).restore())


def _conclude(request: pytest.FixtureRequest, device: Device, ending: Ending) -> None:
    request.node.user_properties.append((ENDING_PROPERTY, device.end(ending)))
    is_to_restore, is_restored = is_restore(request.node.nodeid), ending.outcome is Outcome.RESTORED
    if ending.outcome.failed or ending.error or (is_to_restore and not is_restored):
        pytest.fail(in_words(device, ending), pytrace=False)
    if is_restored and not is_to_restore:
        pytest.skip("the rollout has failed: going on with its restore, which had been cut short")  # no update passed


def in_words(device: Device, ending: Ending) -> str:
    """What failed, what the board is on now, and what to do."""
    error = ending.error
    lines = [f"{device.device_id}: {error.phase}: {error.message} [{error.category}]"] if error else [device.device_id]
    had = device.version_before or "the firmware that it had"
    now = {
        Outcome.ROLLED_BACK: f"The board is back on {had}: {ending.reason or 'verified'}.",
        Outcome.UPDATED: f"The board stays on {device.version}: {ending.reason}.",
        Outcome.UNTOUCHED: f"Nothing was written: the board is on {had}.",
        Outcome.EMERGENCY: f"EMERGENCY: the board is on neither firmware: {ending.reason}",
    }
    lines.append(now.get(ending.outcome, ""))
    if error:
        lines.append(error.advice)
    return "\n".join(line for line in lines if line)
