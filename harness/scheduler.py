"""One item at a time to each of xdist's workers, as the rollout says, so that a dead board holds up nobody.

xdist's own schedulers give a worker two items at least, and a worker starts an item only when it knows the next: the
second device waits behind the first, however long that takes. Here each worker gets a device and the *hold*
(`holding.py`); the next device follows when the first has ended and the rollout lets it start.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

from harness.item import device_id_of, is_restore, restore_id
from harness.rollout.waves import Action, Start


class Node(Protocol):
    """What is needed of xdist's WorkerController."""

    @property
    def shutting_down(self) -> bool: ...

    def send_runtest_some(self, indices: Sequence[int]) -> None: ...

    def shutdown(self) -> None: ...


class Pilot(Protocol):
    """Who decides what starts; `steering.py`."""

    @property
    def finished(self) -> bool:
        """Whether nothing is going on and nothing will start any more."""

    def begin(self, device_ids: Sequence[str]) -> None:
        """The devices of the run are known."""

    def ready(self) -> Sequence[Start]:
        """What may start now; asked again after each start."""

    def started(self, start: Start) -> None: ...

    def ended(self, start: Start) -> None: ...

    def lost(self, start: Start) -> None:
        """Its worker died; it may become ready again."""

    def attend(self) -> None:
        """Time has passed."""


class DeviceScheduling:
    """xdist's `Scheduling` protocol (xdist/scheduler/protocol.py)."""

    def __init__(self, pilot: Pilot) -> None:
        self._pilot = pilot
        self._nodes: list[Node] = []
        self._collection: tuple[str, ...] | None = None
        self._indices: dict[Start, int] = {}
        self._starts: dict[int, Start] = {}  # the same the other way round
        self._others: deque[int] = deque()  # items that are no device's; they start when there is a worker
        self._running: dict[Node, int | None] = {}  # of the nodes that may work; None: idle
        self.has_workers = True
        """False once the last one has gone and none is to come: xdist would end the session by an internal error."""

    @property
    def nodes(self) -> list[Node]:
        return list(self._nodes)

    @property
    def collection_is_completed(self) -> bool:
        """The first worker may begin: it need not wait for the others to come up."""
        return self._collection is not None

    @property
    def has_pending(self) -> bool:
        running = any(index is not None for index in self._running.values())
        return running or bool(self._others) or not self._pilot.finished

    @property
    def tests_finished(self) -> bool:
        return not self.has_workers or (self.collection_is_completed and not self.has_pending)

    def add_node(self, node: Node) -> None:
        self._nodes.append(node)

    def add_node_collection(self, node: Node, collection: Sequence[str]) -> None:
        """A worker whose items are not the first one's is sent home: items travel as bare indices."""
        if self._collection is None:
            self._begin(tuple(collection))
        if self.accepts(collection):
            self._running[node] = None
        else:
            node.shutdown()

    def accepts(self, collection: Sequence[str]) -> bool:
        """Whether a worker with these items can be used."""
        return self._collection in (None, tuple(collection))

    def _begin(self, collection: tuple[str, ...]) -> None:
        self._collection = collection
        devices = {device_id: index for index, nodeid in enumerate(collection) if (device_id := device_id_of(nodeid))}
        self._others.extend(sorted(set(range(len(collection))) - set(devices.values())))
        for position, (device_id, index) in enumerate(devices.items()):
            self._indices[Start(device_id, Action.UPDATE)] = index
            self._indices[Start(device_id, Action.RESTORE)] = len(collection) + position
        self._starts = {index: start for start, index in self._indices.items()}
        self._pilot.begin(tuple(devices))

    @property
    def _hold(self) -> int:
        assert self._collection is not None
        return len(self._collection) + len(self._indices) // 2

    def schedule(self) -> None:
        for node, index in self._running.items():
            if index is None and not node.shutting_down:
                self._give(node)

    def _give(self, node: Node) -> None:
        if self._others:
            index = self._others.popleft()
            if not self._send(node, index):
                self._others.appendleft(index)
        elif (ready := self._pilot.ready()) and self._send(node, self._indices[ready[0]]):
            self._pilot.started(ready[0])

    def _send(self, node: Node, index: int) -> bool:
        try:
            node.send_runtest_some([index, self._hold])
        except OSError:  # it has just died; `remove_node` and another worker are to come
            return False
        self._running[node] = index
        return True

    def mark_test_complete(self, node: Node, item_index: int, duration: float = 0) -> None:  # noqa: ARG002  (xdist's)
        if self._running.get(node) != item_index:  # a hold ends, too
            return
        self._running[node] = None
        if item_index in self._starts:
            self._pilot.ended(self._starts[item_index])
        self.schedule()

    def mark_test_pending(self, item: str) -> None:
        """The item's worker died: the rollout hears of it, and says whether and when it runs again."""
        device_id = device_id_of(item)
        if device_id is not None:
            self._pilot.lost(Start(device_id, Action.RESTORE if is_restore(item) else Action.UPDATE))
        self.schedule()

    def remove_node(self, node: Node) -> str | None:
        """The item that a worker was at when it ended, if any. Raises `KeyError` for one that never came up."""
        if node not in self._nodes:
            raise KeyError(node)
        self._nodes.remove(node)
        index = self._running.pop(node, None)  # one that was sent home, or failed to collect, is not among these
        return None if index is None else self._nodeid(index)

    def _nodeid(self, index: int) -> str:
        assert self._collection is not None
        start = self._starts.get(index)
        if start is None or start.action is Action.UPDATE:
            return self._collection[index]
        return restore_id(self._collection[self._indices[Start(start.device_id, Action.UPDATE)]])

    def remove_pending_tests_from_node(self, node: Node, indices: Sequence[int]) -> None:  # noqa: ARG002  (xdist's)
        """xdist tells this to schedulers that steal items; here it is how `heartbeat.py` makes itself heard."""
        self._pilot.attend()
        self.schedule()
