"""Real benches, in processes of their own, with the note that `batch-flash bench` leaves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from drivers.virtual.client import Bench
from drivers.virtual.messages import BoardPorts
from drivers.virtual.spec import BenchSpec, BoardSpec
from harness.discovery import bench_notes


@contextmanager
def noted_bench(state: Path, *boards: BoardSpec, only_pty: bool = False, noted: bool = True) -> Iterator[Bench]:
    with Bench.start(BenchSpec(state=state, boards=boards)) as bench:
        offers = {}
        for board in boards:
            ports = bench.boards[board.board_id]
            if only_pty:
                ports = BoardPorts(pty=ports.pty)
            offers[board.board_id] = bench_notes.Offer("", board.chip, ports)
        if noted:
            with bench_notes.left(state, offers):
                yield bench
        else:
            yield bench
