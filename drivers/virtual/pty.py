"""A board's pseudo-terminal, for tools that take only a device file.

A pty carries neither DTR and RTS nor parity, so the adapter's other half is a hand: opening the pty presses RESET
(the master's POLLHUP clears), and what a host says only to a boot loader brings the board there, where it has a button
for that (`SerialBoard.hand_sees`). The baud rate is read from the termios settings on the master's side. A pty that is
closed and opened again within the same moment was never closed, as far as its master can see: no RESET is pressed.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import select
import struct
import tty
from typing import TYPE_CHECKING

from drivers.virtual.wire import Wire

if TYPE_CHECKING:
    from drivers.virtual.serial_station import SerialBoard

_POLL_S = 0.02  # how soon an opening is noticed; a hang-up can not be waited for with epoll, it is reported for ever
_READ = 1 << 16
_UNREAD_LIMIT = 1 << 20
_TERMIOS2 = struct.Struct("=4I20B2I")  # Linux's struct termios2: flags, line discipline and characters, speeds
_TCGETS2 = 0x802C542A  # termios.tcgetattr knows only the classic rates, and not 74880


class PtyPort:
    """The pty of one board."""

    def __init__(self, board: SerialBoard) -> None:
        self._board = board
        self._wire: Wire = board.wire
        self._master, slave = pty.openpty()
        tty.setraw(slave)
        self.path = os.ttyname(slave)
        os.close(slave)
        os.set_blocking(self._master, False)
        self._loop = asyncio.get_running_loop()
        self._poll = select.poll()
        self._poll.register(self._master, select.POLLHUP)
        self._unsent = bytearray()
        self._until_drop: int | None = None
        self._dead = False
        self._reset_is_due = False
        self._timer = self._loop.call_soon(self._watch)

    @property
    def baud(self) -> int:
        """The rate that the host has set."""
        settings = fcntl.ioctl(self._master, _TCGETS2, bytes(_TERMIOS2.size))
        return int(_TERMIOS2.unpack(settings)[-1]) or 9600

    def close(self) -> None:
        """Give the pty back; a host that has it open sees a hang-up."""
        self._forget_host()
        os.close(self._master)

    def _watch(self) -> None:
        """Wait for somebody to open the slave."""
        if self._poll.poll(0):
            self._timer = self._loop.call_later(_POLL_S, self._watch)
            return
        self._dead = False
        self._until_drop = self._wire.faults.line_drops_after()
        self._wire.listeners.append(self)
        self._loop.add_reader(self._master, self._readable)
        # A host sets its rate a moment after it has opened the port; a board that spoke sooner would be garbled.
        self._reset_is_due = True
        self._timer = self._loop.call_later(_POLL_S, self._press_reset)
        self._readable()  # what the host has sent already comes before anything that the board is about to say

    def _press_reset(self) -> None:
        if self._reset_is_due:
            self._reset_is_due = False
            self._board.press_reset()

    def _readable(self) -> None:
        try:
            data = os.read(self._master, _READ)
        except BlockingIOError:
            return
        except OSError:  # EIO: the last one who had the slave open closed it
            self._forget_host()
            self._timer = self._loop.call_later(_POLL_S, self._watch)
            return
        self._from_host(data)

    def _from_host(self, data: bytes) -> None:
        if self._dead:
            return
        self._press_reset()
        if self._until_drop is not None:
            data, self._until_drop = data[: self._until_drop], self._until_drop - len(data)
        if self._board.hand_sees(data):
            return
        self._wire.from_host(data, self.baud)
        if self._until_drop is not None and self._until_drop <= 0:
            self._wire.faults.line_dropped()
            self._dead = True

    def _forget_host(self) -> None:
        self._timer.cancel()
        self._reset_is_due = False
        self._loop.remove_reader(self._master)
        self._loop.remove_writer(self._master)
        self._unsent.clear()
        if self in self._wire.listeners:
            self._wire.listeners.remove(self)

    def deliver(self, data: bytes) -> None:
        """Bytes from the board to the host."""
        if self._dead or len(self._unsent) > _UNREAD_LIMIT:
            return
        if not self._unsent:
            self._loop.add_writer(self._master, self._writable)
        self._unsent += data

    def _writable(self) -> None:
        with contextlib.suppress(BlockingIOError, OSError):  # an EIO here is seen by the reader too
            del self._unsent[: os.write(self._master, self._unsent)]
        if not self._unsent:
            self._loop.remove_writer(self._master)
