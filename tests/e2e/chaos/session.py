"""One pytest run of a round, and every process that belongs to it."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

_POLL_S = 0.02
_HANG_S = 240
_DUMP_S = 5
_MARK = "CHAOS_SESSION"


class Session:
    """A run in the background; its output goes to a file."""

    def __init__(self, folder: Path, arguments: Sequence[str], output: Path) -> None:
        self._mark = secrets.token_hex(8)
        self.output = output
        self.began = time.time()
        self.hung = False
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
        with output.open("w") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pytest", "-p", "no:hypothesispytest", *arguments],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**environment, _MARK: self._mark, "PYTHONUNBUFFERED": "1"},
            )

    @property
    def controller(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.poll()

    @property
    def is_alive(self) -> bool:
        return self.returncode is None or bool(self.processes())

    def processes(self) -> list[int]:
        """All that are alive: workers inherit the mark in the environment."""
        wanted = f"{_MARK}={self._mark}".encode()
        return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/environ") if wanted in _contents(path)]

    def workers(self) -> list[int]:
        return sorted(pid for pid in self.processes() if pid != self.controller)

    def kill(self, pid: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def end(self) -> None:
        """Kill what is left of it, the controller first: it would start a new worker for one that dies."""
        for pid in sorted(self.processes(), key=lambda pid: pid != self.controller):
            self.kill(pid)
        self._process.wait()

    def wait(self, attend: Callable[[], None], until: Callable[[], bool] = lambda: False) -> None:
        """Until all of its processes have ended, or `until` holds. What hangs says where, and is ended."""
        while self.is_alive and not until():
            attend()
            if time.time() > self.began + _HANG_S:
                self._end_hung()
                return
            time.sleep(_POLL_S)

    def _end_hung(self) -> None:
        self.hung = True
        for number in (signal.SIGABRT, signal.SIGKILL):  # pytest's faulthandler writes all stacks to the output
            for pid in self.processes():
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            time.sleep(_DUMP_S)
        self._process.wait()

    def said(self, text: str) -> bool:
        return text in self.output.read_text(errors="replace")


def _contents(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has ended, or is another user's
        return b""
