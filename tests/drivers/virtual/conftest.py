from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from drivers.virtual.client import Bench
from drivers.virtual.spec import BenchSpec, BoardSpec, Fault
from tests.tries import tried

StartBench = Callable[..., Bench]
CHIPS = ("esp32", "esp32s3", "esp32c3", "esp8266")
ESPTOOL_LIMIT_S = 120
TOO_LATE = ("No serial data received", "Failed to start stub flasher")
"""What esptool says where its own time-outs, of 0.1 s for a SYNC and 0.2 s for a stub's start, were over before a bench
that the machine held up had answered: whoever sees that starts it again.
"""


def start_esptool(port: str, *arguments: object) -> subprocess.Popen[str]:
    """Stock esptool, a process of its own, no configuration of ours."""
    command = [sys.executable, "-m", "esptool", "--port", port, *(str(argument) for argument in arguments)]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = process.communicate(timeout=ESPTOOL_LIMIT_S)
    return process.returncode, output


def esptool(port: str, *arguments: object) -> str:
    """What esptool said; fails the test when esptool failed, again and again where it was for being `TOO_LATE`."""
    status, output = tried(
        lambda: finish(start_esptool(port, *arguments)),
        lambda ended: ended[0] == 0 or not any(words in ended[1] for words in TOO_LATE),
    )
    assert status == 0, output
    return output


def failing_esptool(port: str, *arguments: object, says: str = "") -> str:
    """What esptool said; fails the test when esptool succeeded, or failed again and again without saying this."""

    def fail() -> str:
        status, output = finish(start_esptool(port, *arguments))
        assert status != 0, output
        return output

    output = tried(fail, lambda output: says in output)
    assert says in output, output
    return output


def board(board_id: str, chip: str = "esp32", faults: tuple[Fault, ...] = (), **more: object) -> BoardSpec:
    return BoardSpec(board_id=board_id, chip=chip, faults=faults, **more)


def flash_of(state: Path, board_id: str) -> bytes:
    return (state / board_id / "flash.bin").read_bytes()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartBench]:
    """Starts benches in `tmp_path` and ends them after the test."""
    running: list[Bench] = []

    def begin(*boards: BoardSpec) -> Bench:
        running.append(Bench.start(BenchSpec(state=tmp_path, boards=boards)))
        return running[-1]

    yield begin
    for bench in running:
        bench.stop()
