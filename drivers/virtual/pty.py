"""A board's pseudo-terminal, for tools that take only a device file.

A pty carries neither DTR and RTS nor parity, so the adapter's other half is a hand: opening the pty presses RESET, and
what a host says only to a boot loader brings the board there, where it has a button for that (`SerialBoard.hand_sees`).
The baud rate is read from the termios settings on the master's side. Who opens and closes the pty is told by the
kernel (`Openings`).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import select
import struct
import termios
import tty
from typing import TYPE_CHECKING

from drivers.virtual.openings import Openings
from drivers.virtual.wire import Wire

if TYPE_CHECKING:
    from drivers.virtual.serial_station import SerialBoard

_SETTING_UP_S = 0.02  # a host sets its rate a moment after it has opened the port
_SETTLED_S = 0.2  # a closing is told a moment before it is done
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
        self._openers = 0
        self._is_here = False
        self._last_rate: int | None = None
        self._reset_is_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._check: asyncio.TimerHandle | None = None
        self._end_watch = Openings.watch(self.path, self._changed)

    @property
    def baud(self) -> int:
        """The rate that the host has set."""
        settings = fcntl.ioctl(self._master, _TCGETS2, bytes(_TERMIOS2.size))
        return int(_TERMIOS2.unpack(settings)[-1]) or 9600

    def _forget_rate(self) -> None:
        """A pty keeps its settings; a port that leaves the bus and comes back is a new one."""
        settings = termios.tcgetattr(self._master)
        settings[4] = settings[5] = termios.B9600
        termios.tcsetattr(self._master, termios.TCSANOW, settings)

    def close(self) -> None:
        """Give the pty back; a host that has it open sees a hang-up."""
        self._end_watch()
        if self._check is not None:
            self._check.cancel()
        if self._is_here:
            self._host_went(None)
        os.close(self._master)

    def _changed(self, openings: tuple[bool, ...]) -> None:
        """The slave was opened (True) or closed, in this order."""
        for index, opened in enumerate(openings):
            if opened:
                self._opened()
            elif self._openers:
                self._openers -= 1
                if not self._openers:
                    self._last_one_closed(has_next=any(openings[index:]))
        self._recount_soon()

    def _opened(self) -> None:
        if self._is_here and not self._openers:  # the one before was the last one
            self._leave(self._last_rate)
        self._openers += 1
        if not self._is_here:
            self._host_came()

    def _last_one_closed(self, *, has_next: bool) -> None:
        """As far as it was told: others may have it open still, or the closing be not done yet. Whoever says something
        is there, an EIO tells that nobody is, and the recount what neither does.
        """
        self._last_rate = self.baud
        # What has not been read yet is of the next host, where there is one: the last one has waited for its answers.
        if has_next:
            self._leave(None)
        elif self._poll.poll(0):
            self._drain()

    def _recount_soon(self) -> None:
        if self._check is not None:
            self._check.cancel()
        self._check = self._loop.call_later(_SETTLED_S, self._recount)

    def _recount(self) -> None:
        """Several hosts may have come or gone at once, and only one was told: what counts is whether one is there."""
        self._check = None
        Openings.catch_up()  # what has happened already is to be told first
        if self._check is None and self._is_here:
            self._openers = max(self._openers, 1)
            self._leave_if_closed()

    def _leave_if_closed(self) -> None:
        if self._poll.poll(0):
            self._openers = 0
            self._leave(self.baud)

    def _leave(self, rate: int | None) -> None:
        self._press_reset()
        self._host_went(rate)

    def _host_came(self) -> None:
        self._is_here = True
        self._dead = False
        self._until_drop = self._wire.faults.line_drops_after()
        self._wire.listeners.append(self)
        self._loop.add_reader(self._master, self._arrived)
        self._reset_is_due = True  # a board that spoke before its host has set the rate would be garbled
        self._timer = self._loop.call_later(_SETTING_UP_S, self._press_reset)
        self._readable()  # what the host has sent already comes before anything that the board is about to say

    def _press_reset(self) -> None:
        if self._reset_is_due:
            self._reset_is_due = False
            self._board.press_reset()

    def _arrived(self) -> None:
        Openings.catch_up()  # whose bytes they are
        if self._readable() and self._is_here:
            self._openers = max(self._openers, 1)

    def _drain(self) -> None:
        """Read what is left, up to the EIO."""
        while self._readable():
            pass

    def _readable(self) -> bool:
        """Whether there was something."""
        try:
            data = os.read(self._master, _READ)
        except BlockingIOError:
            return False
        except OSError:  # EIO: the last one who had the slave open has closed it
            if self._is_here:
                self._leave_if_closed()
            return False
        self._from_host(data)
        return True

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

    def _host_went(self, rate: int | None) -> None:  # noqa: ARG002
        """The last host has closed the pty, at this rate; None where nobody can tell, for the next one has set its."""
        self._is_here = False
        if self._timer is not None:
            self._timer.cancel()
        self._reset_is_due = False
        self._loop.remove_reader(self._master)
        self._loop.remove_writer(self._master)
        self._unsent.clear()
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
