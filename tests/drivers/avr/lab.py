"""What the tests of the AVR driver share: sessions on a bench's boards, and what an application says on them."""

from __future__ import annotations

import time
from pathlib import Path

from drivers.avr import ARDUINO, AvrSession
from drivers.base import Link
from drivers.virtual.client import Bench


def ignore(_done: int, _total: int) -> None:
    pass


def console(session: AvrSession, wanted: bytes, within_s: float = 30) -> bytes:
    """What the application has said when it has said this, or the time was over."""
    said, end = b"", time.monotonic() + within_s
    while wanted not in said and time.monotonic() < end:
        said += session.read_console(0.2)
    return said


class Lab:
    """A bench; `session` opens a board's port, as the chip that it is called, or another. `lines`: avrdude's words."""

    def __init__(self, bench: Bench, state: Path) -> None:
        self.bench = bench
        self.state = state
        self.lines: list[str] = []
        self._opened: list[AvrSession] = []

    def session(self, board: str, chip: str = "", *, face: str = "pty", **more: object) -> AvrSession:
        port = getattr(self.bench.boards[board], face)
        link = Link(port, 115200, 115200, chip=chip or board.rstrip("0123456789"), **more)
        self._opened.append(ARDUINO.open(link, self.lines.append))
        return self._opened[-1]

    def flash(self, board: str) -> bytes:
        return (self.state / board / "flash.bin").read_bytes()

    def close(self) -> None:
        """After it, no port is open, and no board has a fault."""
        for session in self._opened:
            session.close()
        for board in self.bench.boards:
            self.bench.set_faults(board, [])
