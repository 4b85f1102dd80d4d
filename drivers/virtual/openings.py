"""Who opens and closes a device file, told by the kernel (inotify): each time, however soon after each other.

A pty's master alone can be asked only whether somebody has the slave open now; one that is closed and opened again
between two questions was never closed to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ClassVar

from inotify_simple import INotify, flags

from drivers.virtual.errors import BenchError

OnChanges = Callable[[tuple[bool, ...]], None]
"""Takes what happened to the file, in its order: True for an opening, False for a closing. Of several of one kind
without one of the other in between, the kernel may tell only one.
"""

_CLOSINGS = flags.CLOSE_WRITE | flags.CLOSE_NOWRITE


class Openings:
    """One inotify queue for all the files of an event loop: a user may have but 128 of them by default."""

    _of_loop: ClassVar[dict[asyncio.AbstractEventLoop, Openings]] = {}

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._watched: dict[int, OnChanges] = {}
        try:
            self._queue = INotify()
        except OSError as error:
            raise BenchError(
                f"no inotify queue can be had ({error}), which tells when a pty is opened; "
                "see fs.inotify.max_user_instances (sysctl)"
            ) from error
        loop.add_reader(self._queue, self._readable)

    @classmethod
    def watch(cls, path: str, on_changes: OnChanges) -> Callable[[], None]:
        """Tell `on_changes` from now on, in the running loop; what is returned ends it. Raises BenchError."""
        loop = asyncio.get_running_loop()
        openings = cls._of_loop.get(loop) or cls._of_loop.setdefault(loop, cls(loop))
        try:
            number = openings._queue.add_watch(path, flags.OPEN | _CLOSINGS)
        except OSError as error:
            raise BenchError(
                f"{path} can not be watched ({error}); see /proc/sys/fs/inotify/max_user_watches"
            ) from error
        openings._watched[number] = on_changes
        return lambda: openings._end(number)

    @classmethod
    def catch_up(cls) -> None:
        """Tell at once what has happened so far, to all who watch in the running loop."""
        cls._of_loop[asyncio.get_running_loop()]._readable()

    def _end(self, number: int) -> None:
        del self._watched[number]
        self._queue.rm_watch(number)
        if not self._watched:
            del self._of_loop[self._loop]
            self._loop.remove_reader(self._queue)
            self._queue.close()

    def _readable(self) -> None:
        changes: dict[int, list[bool]] = {}
        for event in self._queue.read(timeout=0):
            if event.mask & (flags.OPEN | _CLOSINGS):
                changes.setdefault(event.wd, []).append(bool(event.mask & flags.OPEN))
        for number, of_one in changes.items():
            if on_changes := self._watched.get(number):
                on_changes(tuple(of_one))
