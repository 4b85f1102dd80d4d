"""The place of a board with a serial port: its two faces, RFC2217 and pty, whichever family it is of."""

from __future__ import annotations

from abc import abstractmethod
from types import TracebackType
from typing import Protocol, Self

from drivers.virtual.board_station import AnyBoard, BoardStation
from drivers.virtual.messages import BoardPorts
from drivers.virtual.pty import PtyPort
from drivers.virtual.rfc2217 import Rfc2217Port
from drivers.virtual.wire import Wire


class SerialBoard(AnyBoard, Protocol):
    """What a hand, an adapter or a supply can do to a board. None of it waits."""

    @property
    def wire(self) -> Wire: ...

    def set_lines(self, *, dtr: bool | None = None, rts: bool | None = None) -> None:
        """The adapter's lines, one or both at once; True is asserted (the pin is low)."""

    def press_reset(self) -> None:
        """A hand presses RESET: on a pty, which has no lines, at each opening."""

    def hand_sees(self, data: bytes) -> bool:
        """What the hand at a pty does about bytes from the host: True where it brings the board into its boot loader,
        which was in reset while they passed.
        """


class SerialStation(BoardStation):
    """A board with its folder and its ports."""

    board: SerialBoard

    @abstractmethod
    def make_board(self) -> SerialBoard: ...

    def make_pty(self) -> PtyPort:
        """The board's face on a device file."""
        return PtyPort(self.board)

    def __enter__(self) -> Self:
        super().__enter__()
        self._rfc2217 = Rfc2217Port(self.board.wire, self.board.set_lines)
        self._pty: PtyPort | None = None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._rfc2217.close()
        if self._pty is not None:
            self._pty.close()
        super().__exit__(kind, error, trace)

    async def open(self) -> BoardPorts:
        url = await self._rfc2217.open()
        self._pty = self.make_pty()
        self.board.set_power(on=True)
        return BoardPorts(pty=self._pty.path, url=url)

    @property
    def is_in_use(self) -> bool:
        """Whether a client holds the board's RFC2217 port; a pty does not tell."""
        return self._rfc2217.is_in_use
