"""avrdude on a pseudo-terminal, the board on a port that this process keeps: bytes go both ways between them.

avrdude knows neither RFC2217 nor ports that somebody else holds. Through the bridge the port stays ours, and locked,
from the identity check to the last reset; it is reset at the very moment at which avrdude begins to speak, so that a
busy machine can not make it miss the boot loader's one second; and what an application printed before that never
reaches avrdude.
"""

from __future__ import annotations

import os
import select
import threading
import time
import tty
from types import TracebackType
from typing import Self

from drivers.avr_port import POLL_S, BoardPort

_SIZE = 4096


class Bridge:
    """A context: in it, `path` is a device file that leads to the board, reset once.

    `swallow` bytes, the first that the tool says, only start the reset: the board could not have heard them. The rest
    waits until `boots_in_s` seconds after it.
    """

    def __init__(self, port: BoardPort, swallow: int, boots_in_s: float) -> None:
        self._port = port
        self._swallow = swallow
        self._boots_in_s = boots_in_s
        self._tool_speaks = threading.Event()
        self._board_listens = threading.Event()
        self._over = threading.Event()
        self.error: Exception | None = None
        """What became of the port, when it failed."""

    def __enter__(self) -> Self:
        self._port.let_go()
        if not self._port.presses_late:
            self._port.press()
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)
        self._threads = [
            threading.Thread(target=self._guarded, args=(work,), daemon=True)
            for work in (self._to_board, self._to_tool)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._tool_speaks.set()
        self._board_listens.set()
        for thread in self._threads:
            thread.join()
        os.close(self._master)
        os.close(self._slave)

    def _guarded(self, work: object) -> None:
        assert callable(work)
        try:
            work()
        except Exception as error:  # noqa: BLE001  (a thread's end: the session's thread tells it on)
            self.error = self.error or error
            self._over.set()

    @property
    def is_broken(self) -> bool:
        return self.error is not None

    def _to_board(self) -> None:
        left = self._swallow
        while not self._over.is_set():
            if not select.select([self._master], [], [], POLL_S)[0]:
                continue
            data = os.read(self._master, _SIZE)
            self._tool_speaks.set()
            left, data = max(0, left - len(data)), data[left:]
            if data:
                self._board_listens.wait()
                self._port.write(data)

    def _to_tool(self) -> None:
        """Also presses RESET: pyserial's ports take no change of their state beside a read."""
        self._tool_speaks.wait()
        if self._port.presses_late and not self._over.is_set():
            self._port.press()
            time.sleep(self._boots_in_s)
        self._board_listens.set()
        while not self._over.is_set():
            data = self._port.read()
            while data and not self._over.is_set():
                if select.select([], [self._master], [], POLL_S)[1]:
                    data = data[os.write(self._master, data) :]
