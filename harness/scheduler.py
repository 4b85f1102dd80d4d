"""One device at a time to each of xdist's workers, so that a dead board holds up nobody.

xdist's own schedulers give a worker two items at least, and a worker starts an item only when it knows the next: the
second device waits behind the first, however long that takes. Here each worker gets a device and a *hold*, an item that
does nothing and that no report shows; the next device follows when the first has ended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from typing import Protocol

import pytest

HOLD = "batch-flash-hold"


class Node(Protocol):
    """What is needed of xdist's WorkerController."""

    @property
    def shutting_down(self) -> bool: ...

    def send_runtest_some(self, indices: Sequence[int]) -> None: ...

    def shutdown(self) -> None: ...


class DeviceScheduling:
    """xdist's `Scheduling` protocol (xdist/scheduler/protocol.py). Devices start in the batch's order."""

    def __init__(self) -> None:
        self._nodes: list[Node] = []
        self._collection: tuple[str, ...] | None = None
        self._pending: deque[int] = deque()
        self._running: dict[Node, int | None] = {}  # of the nodes that may work; None: idle
        self._halted = False

    @property
    def nodes(self) -> list[Node]:
        return list(self._nodes)

    @property
    def collection_is_completed(self) -> bool:
        """The first worker may begin: it need not wait for the others to come up."""
        return self._collection is not None

    @property
    def has_pending(self) -> bool:
        return bool(self._pending) or any(index is not None for index in self._running.values())

    @property
    def tests_finished(self) -> bool:
        return self.collection_is_completed and not self.has_pending

    def halt(self) -> None:
        """Start nothing more; what is running goes on to its end. May be called in a signal's handler."""
        self._halted = True
        self._pending.clear()

    def add_node(self, node: Node) -> None:
        self._nodes.append(node)

    def add_node_collection(self, node: Node, collection: Sequence[str]) -> None:
        """A worker whose items are not the first one's is sent home: items travel as bare indices."""
        if self._collection is None:
            self._collection = tuple(collection)
            self._pending.extend(() if self._halted else range(len(collection)))
        if self._collection == tuple(collection):
            self._running[node] = None
        else:
            node.shutdown()

    def schedule(self) -> None:
        for node, index in self._running.items():
            if index is None and self._pending and not node.shutting_down:
                self._start(node, self._pending.popleft())

    def _start(self, node: Node, index: int) -> None:
        assert self._collection is not None
        try:
            node.send_runtest_some([index, len(self._collection)])
        except OSError:  # it has just died; `remove_node` and another worker are to come
            self._pending.appendleft(index)
        else:
            self._running[node] = index

    def mark_test_complete(self, node: Node, item_index: int, duration: float = 0) -> None:  # noqa: ARG002  (xdist's)
        if self._running.get(node) == item_index:  # a hold ends, too
            self._running[node] = None
            self.schedule()

    def mark_test_pending(self, item: str) -> None:
        """Run an item again, before those that have not started yet; not after a halt."""
        if self._collection is None or self._halted:
            return
        self._pending.appendleft(self._collection.index(item))
        self.schedule()

    def remove_node(self, node: Node) -> str | None:
        """The item that a worker was at when it ended, if any. Raises `KeyError` for one that never came up."""
        if node not in self._nodes:
            raise KeyError(node)
        self._nodes.remove(node)
        index = self._running.pop(node, None)  # one that was sent home, or failed to collect, is not among these
        return None if index is None or self._collection is None else self._collection[index]

    def remove_pending_tests_from_node(self, node: Node, indices: Sequence[int]) -> None:
        """Only schedulers that steal items are told of this."""
        raise NotImplementedError


class HoldItem(pytest.Item):
    """The item that a worker waits at."""

    def runtest(self) -> None:
        """Nothing: `Holding` passes over it."""


class Holding:
    """A worker's part: one more item, at the end, whatever -k and --lf have left."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Item]) -> Generator[None]:
        yield
        items.append(HoldItem.from_parent(session, name=HOLD, nodeid=HOLD))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        return True if isinstance(item, HoldItem) else None


def take_hold_off(ids: Sequence[str]) -> None:
    """Take the hold out of what a worker has collected, in place: xdist counts and shows these."""
    if isinstance(ids, list) and ids and ids[-1] == HOLD:
        del ids[-1]
