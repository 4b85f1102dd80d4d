"""An Arduino on a bench whose process stands still for a while: its seconds are those of the bench's clock."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import serial

from drivers.virtual.avr.station import station
from drivers.virtual.spec import BoardSpec

PATIENCE_S = 30
IN_SYNC = b"\x14\x10"
OPTIBOOT_S = 1.0  # its watchdog


class Host:
    """Whoever listens."""

    baud = 115200

    def __init__(self) -> None:
        self.heard = b""
        self._news = asyncio.Event()

    def deliver(self, data: bytes) -> None:
        self.heard += data
        self._news.set()

    async def hears(self, wanted: bytes) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while wanted not in self.heard:
                self._news.clear()
                await self._news.wait()


def test_what_a_host_says_while_the_bench_stands_still_is_in_time(tmp_path: Path) -> None:
    async def test() -> None:
        host = Host()
        with station(BoardSpec(board_id="b", chip="uno"), tmp_path, 0) as place:
            ports = await place.open()
            place.board.wire.listeners.append(host)
            with serial.Serial(ports.pty, host.baud) as port:
                port.write(b"0 ")
                await host.hears(IN_SYNC)
                host.heard = b""
                port.write(b"0 ")
                time.sleep(OPTIBOOT_S + 0.1)  # the whole event loop
                await host.hears(IN_SYNC)

    asyncio.run(test())
