"""The place on the bench of a board that is reached over the network alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from drivers.virtual.errors import BenchError
from drivers.virtual.folder import BoardFolder
from drivers.virtual.messages import BoardPorts
from drivers.virtual.ota.device import NetworkBoard
from drivers.virtual.spec import (
    BitErrors,
    BoardSpec,
    Fault,
    LineDrop,
    Panics,
    PowerLoss,
    SilentLine,
    SlowErase,
    WrongMd5,
)


class NetworkStation(ABC):
    """A board with its folder and its ports. A family says how its board is made, and which faults it can have."""

    possible_faults: ClassVar[tuple[type[Fault], ...]] = (
        SilentLine,
        LineDrop,
        BitErrors,
        WrongMd5,
        SlowErase,
        PowerLoss,
        Panics,
    )

    def __init__(self, spec: BoardSpec, state: Path, wait_s: float) -> None:
        self.spec = spec
        self._wait_s = wait_s
        self.folder = BoardFolder(spec, state)

    @abstractmethod
    def make_board(self) -> NetworkBoard:
        """The board, without power yet. Raises BenchError."""

    def check_faults(self, faults: Sequence[Fault]) -> None:
        """Raises BenchError for a fault that such a board can not have."""
        for fault in faults:
            if not isinstance(fault, self.possible_faults):
                raise BenchError(
                    f"{self.spec.board_id}: a board with chip {self.spec.chip} can not have the fault {fault.fault}"
                )

    def __enter__(self) -> Self:
        self.check_faults(self.spec.faults)
        self.folder.acquire(self._wait_s)
        try:
            self.board = self.make_board()
            self.board.set_faults(self.spec.faults)
        except BaseException:
            self.folder.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.board.close()
        self.folder.release()

    async def open(self) -> BoardPorts:
        try:
            host = await self.board.open()
        except OSError as error:
            raise BenchError(f"{self.spec.board_id}: its network port can not be had: {error}") from error
        self.board.set_power(on=True)
        await self.board.first_boot()
        return BoardPorts(host=host)

    @property
    def is_in_use(self) -> bool:
        """Whether a client is at work on the board."""
        return self.board.is_in_use

    def set_power(self, *, on: bool) -> None:
        self.board.set_power(on=on)

    def set_faults(self, faults: Sequence[Fault]) -> None:
        self.check_faults(faults)
        self.board.set_faults(faults)
