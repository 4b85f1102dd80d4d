"""The bench's process: hosts the boards of a spec until it is told to end.

`python -m drivers.virtual.bench` is what `client.Bench` starts; messages.py says what is spoken. The end of stdin ends
the bench, so that it does not outlive its owner for long: boards do not vanish when a program dies, so they stay while
a client works on one. `serve` is the same in the foreground, for who starts it by hand.
"""

from __future__ import annotations

import asyncio
import math
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack

from pydantic import TypeAdapter, ValidationError

from drivers.virtual.errors import BenchError
from drivers.virtual.messages import Answer, BoardPorts, EndOrder, Order, PowerOrder
from drivers.virtual.spec import BenchSpec
from drivers.virtual.station import Station, make_station

OnReady = Callable[[Mapping[str, BoardPorts]], None]
_LINGER_S = 20.0
_BETWEEN_CLIENTS_S = 2.0  # a driver closes its port and opens it again
_LINGER_POLL_S = 0.1
_ORDER: TypeAdapter[Order] = TypeAdapter(Order)


class _Bench:
    """The stations of one spec."""

    def __init__(self, spec: BenchSpec) -> None:
        repeated = {board.board_id for board in spec.boards if _count(spec, board.board_id) > 1}
        if repeated:
            raise BenchError(f"more than one board is called {', '.join(sorted(repeated))}")
        with ExitStack() as opened:
            self._stations = {
                board.board_id: opened.enter_context(make_station(board, spec.state, spec.wait_s))
                for board in spec.boards
            }
            self._close = opened.pop_all().close

    async def open(self) -> dict[str, BoardPorts]:
        return {board_id: await station.open() for board_id, station in self._stations.items()}

    def close(self) -> None:
        self._close()

    def obey(self, line: bytes) -> Answer:
        """Carry out one order."""
        try:
            order = _ORDER.validate_json(line)
            station = self._station(order.board_id)
            if isinstance(order, PowerOrder):
                station.set_power(on=order.on)
            else:
                station.set_faults(order.faults)
        except (ValidationError, BenchError) as error:
            return Answer(error=str(error))
        return Answer()

    @property
    def is_in_use(self) -> bool:
        return any(station.is_in_use for station in self._stations.values())

    def _station(self, board_id: str) -> Station:
        try:
            return self._stations[board_id]
        except KeyError:
            raise BenchError(f"no board {board_id!r} on this bench; there are {', '.join(self._stations)}") from None


def _count(spec: BenchSpec, board_id: str) -> int:
    return sum(board.board_id == board_id for board in spec.boards)


def serve(spec: BenchSpec, on_ready: OnReady) -> None:
    """Run a bench in the foreground until SIGINT, SIGTERM or SIGHUP; `on_ready` is called once with each board's ports.

    Raises BenchError when it can not start.
    """
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # not under nohup; libfuse takes it where nobody else does
        numbers.append(signal.SIGHUP)

    async def wait(_bench: _Bench, ports: dict[str, BoardPorts]) -> None:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        for number in numbers:
            loop.add_signal_handler(number, ended.set)
        on_ready(ports)
        await ended.wait()

    asyncio.run(_serve(spec, wait))


async def _serve(spec: BenchSpec, wait: Callable[[_Bench, dict[str, BoardPorts]], Awaitable[None]]) -> None:
    bench = _Bench(spec)
    try:
        await wait(bench, await bench.open())
    finally:
        bench.close()


async def _obey_stdin(bench: _Bench, ports: dict[str, BoardPorts]) -> None:
    _say(Answer(boards=ports))
    orders = await _stdin()
    while line := await orders.readline():
        if _is_end(line):
            return
        _say(bench.obey(line))
    await _linger(bench)


def _is_end(line: bytes) -> bool:
    try:
        EndOrder.model_validate_json(line)
    except ValidationError:
        return False
    return True


async def _linger(bench: _Bench) -> None:
    """The owner has died: its workers, which outlive it for 15 s at most, go on with their boards."""
    loop = asyncio.get_running_loop()
    end = loop.time() + _LINGER_S
    last_used = loop.time() if bench.is_in_use else -math.inf
    while loop.time() < min(end, last_used + _BETWEEN_CLIENTS_S):
        await asyncio.sleep(_LINGER_POLL_S)
        if bench.is_in_use:
            last_used = loop.time()


async def _stdin() -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


def _say(answer: Answer) -> None:
    sys.stdout.write(answer.model_dump_json() + "\n")
    sys.stdout.flush()


def main() -> int:
    """What the client starts: spec on stdin, answers on stdout; 1 when the bench could not start."""
    # The terminal's signals reach the whole process group: the owner decides when its bench ends, by closing stdin.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as unbuffered:  # the rest is the event loop's
        line = unbuffered.readline()
    try:
        asyncio.run(_serve(BenchSpec.model_validate_json(line), _obey_stdin))
    except (BenchError, ValidationError) as error:
        _say(Answer(error=str(error)))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
