"""The place on the bench of a board that is reached over the network alone."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from drivers.virtual.board_station import BoardStation
from drivers.virtual.errors import BenchError
from drivers.virtual.messages import BoardPorts
from drivers.virtual.ota.device import NetworkBoard
from drivers.virtual.spec import (
    BitErrors,
    Fault,
    LineDrop,
    Panics,
    PowerLoss,
    SilentLine,
    SlowErase,
    WrongMd5,
)


class NetworkStation(BoardStation):
    """A board with its folder and its ports."""

    board: NetworkBoard
    possible_faults: ClassVar[tuple[type[Fault], ...]] = (
        SilentLine,
        LineDrop,
        BitErrors,
        WrongMd5,
        SlowErase,
        PowerLoss,
        Panics,
    )

    @abstractmethod
    def make_board(self) -> NetworkBoard: ...

    def check_faults(self, faults: Sequence[Fault]) -> None:
        for fault in faults:
            if not isinstance(fault, self.possible_faults):
                raise BenchError(
                    f"{self.spec.board_id}: a board with chip {self.spec.chip} can not have the fault {fault.fault}"
                )

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
