"""What a board on the network is to its bench, before it is opened and when its model fails."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from drivers.virtual.errors import BenchError
from drivers.virtual.folder import BoardFolder
from drivers.virtual.ota import arduino, esphome, http, smp
from drivers.virtual.ota.device import NetworkBoard
from drivers.virtual.ota.nrf52 import Nrf52Slots
from drivers.virtual.ota.slots import Slots
from drivers.virtual.spec import BoardSpec, Speed
from drivers.virtual.timing import Pace

STATIONS = {"arduino-ota": arduino, "esphome": esphome, "http-ota": http, "smp": smp}
each = pytest.mark.parametrize("family", STATIONS)


@each
def test_a_board_is_closed_that_was_never_opened(tmp_path: Path, family: str):
    """As where another board of the bench has no port to be had."""
    station = STATIONS[family].station(BoardSpec(board_id="board", chip=family), tmp_path, 0)
    for _ in range(2):  # its folder is free again
        with station:
            assert station.folder.path.is_dir()


@each
def test_a_model_that_fails_is_heard_of(tmp_path: Path, family: str, monkeypatch: pytest.MonkeyPatch):
    station = STATIONS[family].station(BoardSpec(board_id="board", chip=family), tmp_path, 0)
    heard: list[dict[str, Any]] = []

    async def opened() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _loop, said: heard.append(said))
        with station, pytest.raises(BenchError, match=r"board: .*no such record"):
            monkeypatch.setattr(type(station.board), "boot", fail)
            async with asyncio.timeout(30):
                await station.open()

    def fail(_board: NetworkBoard) -> bool:
        raise AssertionError("no such record")

    asyncio.run(opened())
    assert [str(said["exception"]) for said in heard] == ["no such record"]


@pytest.mark.parametrize("kind", [Slots, Nrf52Slots])
def test_a_slot_is_of_whole_sectors_and_need_not_be_of_whole_blocks(tmp_path: Path, kind: type[Slots]):
    size = 0x76000
    folder = BoardFolder(BoardSpec(board_id="board", chip="smp"), tmp_path)
    folder.acquire(0)
    try:
        slots = kind(folder, size, lambda: b"old", Pace(Speed.FAST), keep=False)
        slots.put(0, b"new")
        assert slots.read(0) == b"new".ljust(size, b"\xff")
        slots.close()
    finally:
        folder.release()
