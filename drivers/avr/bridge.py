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
import tty
from types import TracebackType
from typing import Self

from drivers.avr.port import POLL_S, BoardPort
from drivers.avr.wake import Wake

_SIZE = 4096


class Bridge:
    """A context: in it, `path` is a device file that leads to the board. `wake` is called when the tool begins to
    speak; what the tool says until then waits.
    """

    def __init__(self, port: BoardPort, wake: Wake) -> None:
        self._port = port
        self._wake = wake
        self._keep: int | None = 0  # bytes of what was told before that are passed on; None: that is done
        self.told = 0
        self._tool_speaks = threading.Event()
        self._board_listens = threading.Event()
        self._over = threading.Event()
        self.error: Exception | None = None
        """What became of the port, when it failed."""

    def __enter__(self) -> Self:
        self._port.let_go()
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

    @property
    def is_over(self) -> bool:
        return self._over.is_set()

    def _to_board(self) -> None:
        held = b""
        while not self._over.is_set():
            if select.select([self._master], [], [], POLL_S)[0]:
                data = os.read(self._master, _SIZE)
                held += data
                self.told += len(data)
                self._tool_speaks.set()
            if not self._board_listens.is_set():
                continue
            if self._keep is not None:
                held, self._keep = held[max(0, len(held) - self._keep) :], None
            if held:
                self._port.write(held)
                held = b""

    def _to_tool(self) -> None:
        """Also wakes the board: pyserial's ports take no change of their state beside a read."""
        self._tool_speaks.wait()
        if not self._over.is_set():
            self._keep = self._wake(self._port, self)
        self._board_listens.set()
        while not self._over.is_set():
            data = self._port.read()
            while data and not self._over.is_set():
                if select.select([], [self._master], [], POLL_S)[1]:
                    data = data[os.write(self._master, data) :]
