"""The owner's side of a bench: start it as a process of its own, order it about, end it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import BaseModel

from drivers.virtual.errors import BenchError
from drivers.virtual.messages import Answer, BoardPorts, EndOrder, FaultsOrder, PowerOrder
from drivers.virtual.spec import BenchSpec, Fault

__all__ = ["Bench", "BenchError", "BoardPorts"]

_STOP_S = 5.0
_ROOT = Path(__file__).resolve().parents[2]  # where the package `drivers` is importable from


class Bench:
    """A running bench. It ends with `stop`, with the context, or with the process that started it, at any end."""

    def __init__(self, process: subprocess.Popen[str], boards: Mapping[str, BoardPorts]) -> None:
        self._process = process
        self.boards = boards
        """Each board's ports, by its id."""

    @classmethod
    def start(cls, spec: BenchSpec) -> Bench:
        """Start a bench and wait until its boards are there. Raises BenchError with the bench's own words."""
        process = subprocess.Popen(
            [sys.executable, "-m", "drivers.virtual.bench"],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        bench = cls(process, {})
        try:
            bench.boards = bench._ask(_with_absolute_paths(spec)).boards
        except BaseException:
            bench.stop()
            raise
        return bench

    def power(self, board_id: str, on: bool) -> None:
        """Connect or cut a board's supply."""
        self._ask(PowerOrder(board_id=board_id, on=on))

    def set_faults(self, board_id: str, faults: Sequence[Fault]) -> None:
        """Replace a board's faults; counting starts anew."""
        self._ask(FaultsOrder(board_id=board_id, faults=tuple(faults)))

    def stop(self) -> None:
        """End the bench; its boards' flash stays."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError, ValueError):  # it ended before
            self._process.stdin.write(EndOrder().model_dump_json() + "\n")
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _ask(self, message: BaseModel) -> Answer:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(message.model_dump_json() + "\n")
            self._process.stdin.flush()
            answer = Answer.model_validate_json(self._process.stdout.readline())
        except (OSError, ValueError) as error:
            raise BenchError(f"the bench has ended (exit status {self._process.poll()})") from error
        if answer.error is not None:
            raise BenchError(answer.error)
        return answer


def _with_absolute_paths(spec: BenchSpec) -> BenchSpec:
    """The spec for a process that runs in another folder."""
    boards = tuple(
        board.model_copy(update={"factory": board.factory.absolute()}) if board.factory else board
        for board in spec.boards
    )
    return spec.model_copy(update={"state": spec.state.absolute(), "boards": boards})
