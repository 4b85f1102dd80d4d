from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from drivers.virtual.client import Bench
from drivers.virtual.spec import BenchSpec, BoardSpec, Fault

StartBench = Callable[..., Bench]
CHIPS = ("esp32", "esp32s3", "esp32c3", "esp8266")
ESPTOOL_LIMIT_S = 120


def start_esptool(port: str, *arguments: object) -> subprocess.Popen[str]:
    """Stock esptool, a process of its own, no configuration of ours."""
    command = [sys.executable, "-m", "esptool", "--port", port, *(str(argument) for argument in arguments)]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = process.communicate(timeout=ESPTOOL_LIMIT_S)
    return process.returncode, output


def esptool(port: str, *arguments: object) -> str:
    """What esptool said; fails the test when esptool failed."""
    status, output = finish(start_esptool(port, *arguments))
    assert status == 0, output
    return output


def failing_esptool(port: str, *arguments: object) -> str:
    """What esptool said; fails the test when esptool succeeded."""
    status, output = finish(start_esptool(port, *arguments))
    assert status != 0, output
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
