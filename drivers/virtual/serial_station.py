"""The place of a board with a serial port: its two faces, RFC2217 and pty, whichever family it is of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from drivers.virtual.folder import BoardFolder
from drivers.virtual.messages import BoardPorts
from drivers.virtual.pty import PtyPort
from drivers.virtual.rfc2217 import Rfc2217Port
from drivers.virtual.spec import BoardSpec, Fault
from drivers.virtual.wire import Wire


class SerialBoard(Protocol):
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

    def set_power(self, *, on: bool) -> None:
        """Connect or cut the supply. RAM is lost, flash is kept as far as it was programmed."""

    def set_faults(self, faults: Iterable[Fault]) -> None:
        """From now on the board has these faults and no others."""

    def close(self) -> None:
        """End the board; its flash file stays."""


class SerialStation(ABC):
    """A board with its folder and its ports. A family says how its board is made, and which faults it can have."""

    def __init__(self, spec: BoardSpec, state: Path, wait_s: float) -> None:
        self.spec = spec
        self._wait_s = wait_s
        self.folder = BoardFolder(spec, state)

    @abstractmethod
    def make_board(self) -> SerialBoard:
        """The board, without power yet. Raises BenchError."""

    @abstractmethod
    def check_faults(self, faults: Sequence[Fault]) -> None:
        """Raises BenchError for a fault that such a board can not have."""

    def make_pty(self) -> PtyPort:
        """The board's face on a device file."""
        return PtyPort(self.board)

    def __enter__(self) -> Self:
        self.check_faults(self.spec.faults)
        self.folder.acquire(self._wait_s)
        try:
            self.board = self.make_board()
            self.board.set_faults(self.spec.faults)
        except BaseException:
            self.folder.release()
            raise
        self._rfc2217 = Rfc2217Port(self.board.wire, self.board.set_lines)
        self._pty: PtyPort | None = None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._rfc2217.close()
        if self._pty is not None:
            self._pty.close()
        self.board.close()
        self.folder.release()

    async def open(self) -> BoardPorts:
        url = await self._rfc2217.open()
        self._pty = self.make_pty()
        self.board.set_power(on=True)
        return BoardPorts(pty=self._pty.path, url=url)

    @property
    def is_in_use(self) -> bool:
        """Whether a client holds the board's RFC2217 port; a pty does not tell."""
        return self._rfc2217.is_in_use

    def set_power(self, *, on: bool) -> None:
        self.board.set_power(on=on)

    def set_faults(self, faults: Sequence[Fault]) -> None:
        self.check_faults(faults)
        self.board.set_faults(faults)
