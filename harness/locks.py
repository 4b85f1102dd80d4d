"""One holder per port, on this machine: files locked by `filelock`, which the kernel releases when the holder dies.

A lock is named after what the port resolves to, so that /dev/serial/by-id/… and /dev/ttyUSB0 are the same one.
Beside it stands a note of who holds it, for the message to whoever waits.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import FileLock, Timeout

from drivers.base import PortInUse
from harness.port_names import resolved_port


@dataclass(frozen=True)
class Holder:
    """Who holds a port. `since` is in seconds since the epoch."""

    pid: int
    run_id: str
    device_id: str
    since: float

    def __str__(self) -> str:
        since = time.strftime("%H:%M:%S", time.localtime(self.since))
        return f"process {self.pid} (run {self.run_id}, device {self.device_id}, since {since})"


def default_lock_dir() -> Path:
    """Shared by every run and user of this machine."""
    return Path(tempfile.gettempdir()) / "batch-flash-locks"


def _make_shared(folder: Path) -> None:
    """A folder that every user may lock in, whatever this one's umask; its first user makes it so."""
    if not folder.exists():
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o777)  # not sticky: Linux then refuses to open another user's file for writing


class PortLock:
    """The lock of one port. Not reentrant; released by `release`, by leaving the block, or by the process's end."""

    def __init__(self, port: str, run_id: str, device_id: str, lock_dir: Path | None = None) -> None:
        self.port = resolved_port(port)
        folder = lock_dir or default_lock_dir()
        _make_shared(folder)
        name = re.sub(r"[^A-Za-z0-9.-]+", "_", self.port).strip("_")
        self._lock = FileLock(folder / f"{name}.lock", mode=0o666)
        self._note = folder / f"{name}.json"
        self._holder = Holder(os.getpid(), run_id, device_id, 0.0)

    def acquire(self, timeout_s: float, on_wait: Callable[[str], None] = lambda _text: None) -> None:
        """Take the lock, waiting up to `timeout_s` seconds. Raises `PortInUse`, which names the holder.

        `on_wait` is told who holds the port when there is a wait.
        """
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            on_wait(self._in_use())
            self._wait(timeout_s)
        self._leave_note()

    def _wait(self, timeout_s: float) -> None:
        try:
            self._lock.acquire(timeout=timeout_s)
        except Timeout as error:
            raise PortInUse(
                f"{self._in_use()}; waited {timeout_s:g} s",
                advice="Wait for the other run to end, or end it; two targets can not share one port.",
            ) from error

    def _in_use(self) -> str:
        return f"{self.port} is in use by {self.holder() or 'another process'}"

    def _leave_note(self) -> None:
        note = self._note.with_suffix(f".{os.getpid()}.tmp")
        note.write_text(json.dumps(asdict(self._holder) | {"since": time.time()}))
        note.replace(self._note)

    def holder(self) -> Holder | None:
        """Who holds (or last held) the port; None when nobody said."""
        try:
            return Holder(**json.loads(self._note.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    @property
    def is_held(self) -> bool:
        return self._lock.is_locked

    def release(self) -> None:
        if self._lock.is_locked:
            self._note.unlink(missing_ok=True)
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()
