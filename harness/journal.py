"""What is done to one device, on disk before it is done: append-only JSON lines, one file a device, one for the run.

The journal is the truth for live progress, for the reports and for whoever finds the device after a crash. Events that
decide what state a board is in are fsynced before the journal returns; progress and log lines are not.
A torn last line (power cut, full disk) is dropped by the reader: what it announced had not begun.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Self


class Kind(StrEnum):
    """What an event says."""

    # of a device
    STARTED = "started"  # device_id, device_type, port, wanted_version, pid, worker, restoring
    IDENTIFIED = "identified"  # chip, revision, serial, flash_size
    VERSION = "version"  # which: before | after, version
    ATTEMPT = "attempt"  # number, baud
    PHASE_STARTED = "phase-started"  # phase, attempt
    PHASE_ENDED = "phase-ended"  # phase, attempt, outcome, detail, figures, error
    PROGRESS = "progress"  # done, total (bytes) of the running phase
    LOG = "log"  # text
    CONSOLE = "console"  # text
    RETRY = "retry"  # attempt, wait_s, error
    ENDED = "ended"  # outcome, error, reason
    # of the run
    RUN_STARTED = "run-started"  # pid
    CHOSEN = "chosen"  # devices
    NOTE = "note"  # text, loud
    ROLLOUT = "rollout"  # a RolloutState
    RUN_ENDED = "run-ended"  # interrupted, why_open: device → reason


_LOCK_POLL_S = 0.1
_NOT_DURABLE = frozenset({Kind.PROGRESS, Kind.LOG, Kind.CONSOLE, Kind.NOTE, Kind.ROLLOUT})


@dataclass(frozen=True)
class Event:
    """One line of a journal. `at` is in seconds since the epoch."""

    at: float
    kind: Kind
    data: Mapping[str, Any]


class JournalBusy(OSError):
    """Another process writes this journal."""


class Journal:
    """The writing end. One process writes a journal at a time: its file is locked until it is closed."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time, wait_s: float = 0.0) -> None:
        """Waits up to `wait_s` seconds for another writer to end. Raises `JournalBusy` when it does not, `OSError`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._clock = clock
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            self._lock(wait_s)
            self._torn = self._ends_torn(path)
        except BaseException:
            os.close(self._fd)
            raise

    def _lock(self, wait_s: float) -> None:
        """By the kernel, which lets go when the writer dies, and on the file itself: a journal is all that there is."""
        deadline = time.monotonic() + wait_s
        while True:
            try:
                return fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() >= deadline:
                    raise JournalBusy(
                        errno.EAGAIN, "another process still writes this journal", str(self.path)
                    ) from error
            time.sleep(_LOCK_POLL_S)

    def write(self, kind: Kind, **data: Any) -> None:
        """Append an event; on disk when this returns, unless it only tells what goes on (`_NOT_DURABLE`).

        Raises `OSError` (a full disk, say): the caller must not go on to what the event announces.
        """
        line = json.dumps({"at": round(self._clock(), 4), "event": kind, **data}, separators=(",", ":"))
        self._append(line.encode() + b"\n")
        if kind not in _NOT_DURABLE:
            os.fsync(self._fd)

    def _append(self, line: bytes) -> None:
        if self._torn:
            line = b"\n" + line  # what a full disk has cut must not swallow what is said once there is room again
        written = os.write(self._fd, line)
        self._torn = written != len(line)
        if self._torn:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))

    def close(self) -> None:
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @staticmethod
    def _ends_torn(path: Path) -> bool:
        """A writer before us may have died in the middle of a line; ours must not be glued to it."""
        if path.stat().st_size == 0:
            return False
        with path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"


def parse(lines: bytes) -> Iterator[Event]:
    """The events of a journal's bytes; lines that are torn or not ours are passed over."""
    for line in lines.split(b"\n"):
        event = _parse_line(line)
        if event is not None:
            yield event


def _parse_line(line: bytes) -> Event | None:
    try:
        fields = json.loads(line)
        return Event(float(fields.pop("at")), Kind(fields.pop("event")), fields)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def read(path: Path) -> tuple[Event, ...]:
    """All events of a journal; none when there is no file yet."""
    try:
        return tuple(parse(path.read_bytes()))
    except FileNotFoundError:
        return ()


def is_being_written(path: Path) -> bool:
    """Whether a process holds this journal now; False where there is none, or it can not be asked."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


class Follower:
    """The reading end of a live view: each call of `new_events` returns what came since the last."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def new_events(self) -> tuple[Event, ...]:
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return ()
        whole = data[: data.rfind(b"\n") + 1]  # a line that is still being written waits for the next call
        self._offset += len(whole)
        return tuple(parse(whole))
