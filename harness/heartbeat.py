"""Wakes xdist's controller a few times a second: it sleeps until a worker says something, and pauses end unsaid."""

from __future__ import annotations

import threading
from collections.abc import Callable

_EVERY_S = 0.2


class Heartbeat:
    """Calls `beat` from a thread, and again only once the last call was answered with `heard`."""

    def __init__(self, beat: Callable[[], None]) -> None:
        self._beat = beat
        self._heard = threading.Event()
        self._heard.set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="batch-flash heartbeat", daemon=True)

    def start(self) -> None:
        if self._thread.ident is None:
            self._thread.start()

    def heard(self) -> None:
        """The last beat has arrived: a controller that is busy is not to find a hundred of them."""
        self._heard.set()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(_EVERY_S):
            if self._heard.is_set():
                self._heard.clear()
                self._beat()
