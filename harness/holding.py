"""A worker's items beside the chosen ones, which are sent to it only when they are wanted, and show nowhere otherwise.

After the items that -k, --lf and the like have left stand, for each device among them, the item that takes its update
back, and at the very end the *hold*: a worker starts an item only when it knows the next, and this one does nothing.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

import pytest

from harness import item
from harness.item import device_id_of

HOLD = "batch-flash-hold"


class HoldItem(pytest.Item):
    """The item that a worker waits at."""

    def runtest(self) -> None:
        """Nothing: `Holding` passes over it."""


class Holding:
    """A worker's plugin."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Item]) -> Generator[None]:
        yield
        items.extend(_restores(items))
        items.append(HoldItem.from_parent(session, name=HOLD, nodeid=HOLD))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        return True if isinstance(item, HoldItem) else None


def _restores(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """For each device's item, in the same order, the one that takes its update back."""
    found: dict[str, pytest.Item] = {}
    devices = [(device_id, each.parent) for each in items if (device_id := device_id_of(each.nodeid))]
    for parent in {parent for _, parent in devices}:
        assert isinstance(parent, pytest.Module)
        for restore in parent._genfunctions(item.RESTORE, item.restore):
            found[str(device_id_of(restore.nodeid))] = restore
    return [found[device_id] for device_id, _ in devices]


def take_off(ids: Sequence[str]) -> None:
    """Take these items out of what a worker has collected, in place: xdist counts and shows what is left."""
    if isinstance(ids, list):
        ids[:] = [nodeid for nodeid in ids if nodeid != HOLD and not item.is_restore(nodeid)]
