"""The place of a board, whichever ports it has: its folder, its supply and its faults, from beginning to end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from drivers.virtual.folder import BoardFolder
from drivers.virtual.spec import BoardSpec, Fault


class AnyBoard(Protocol):
    """What a hand or a supply can do to any board. None of it waits."""

    def set_power(self, *, on: bool) -> None:
        """Connect or cut the supply. RAM is lost, flash is kept as far as it was programmed."""

    def set_faults(self, faults: Iterable[Fault]) -> None:
        """From now on the board has these faults and no others."""

    def close(self) -> None:
        """End the board; its flash file stays."""


class BoardStation(ABC):
    """What every `drivers.virtual.station.Station` has. A family says how its board is made, which faults it can have,
    and by `open` and `is_in_use` which ports.
    """

    board: AnyBoard

    def __init__(self, spec: BoardSpec, state: Path, wait_s: float) -> None:
        self.spec = spec
        self._wait_s = wait_s
        self.folder = BoardFolder(spec, state)

    @abstractmethod
    def make_board(self) -> AnyBoard:
        """The board, without power yet. Raises BenchError."""

    @abstractmethod
    def check_faults(self, faults: Sequence[Fault]) -> None:
        """Raises BenchError for a fault that such a board can not have."""

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

    def set_power(self, *, on: bool) -> None:
        self.board.set_power(on=on)

    def set_faults(self, faults: Sequence[Fault]) -> None:
        self.check_faults(faults)
        self.board.set_faults(faults)
