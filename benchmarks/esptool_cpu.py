"""CPU time of esptool's write and read paths per MB, stock and with the driver's lazy hex dumps, in one run.

    .venv/bin/python benchmarks/esptool_cpu.py

The other end is a port in memory that answers nothing to writes and streams SLIP frames to reads: only esptool works.
"""

from __future__ import annotations

import os
import struct
import time

from drivers.esp.log import NoHex, attach, esptool, no_log

MEGABYTE = 1_000_000
BLOCK = 0x4000


class WritePort:
    """Swallows everything."""

    timeout = write_timeout = 3.0
    baudrate = 115200
    name = port = "memory"

    def write(self, data: bytes) -> int:
        return len(data)


class ReadPort(WritePort):
    """Streams one buffer, as much at a time as a USB bridge delivers."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def inWaiting(self) -> int:  # noqa: N802  (pyserial's old name, which esptool calls)
        return min(4096, len(self._data) - self._at)

    def read(self, size: int) -> bytes:
        piece = self._data[self._at : self._at + size]
        self._at += len(piece)
        return piece


def write_seconds() -> float:
    esp = esptool.loader.ESPLoader(WritePort())
    packet = struct.pack("<BBHI", 0, 3, BLOCK, 0) + os.urandom(BLOCK)
    started = time.process_time()
    for _ in range(MEGABYTE // BLOCK):
        esp.write(packet)
    return time.process_time() - started


def read_seconds() -> float:
    payload = os.urandom(4096).replace(b"\xc0", b"\0").replace(b"\xdb", b"\0")
    frames = MEGABYTE // len(payload)
    esp = esptool.loader.ESPLoader(ReadPort((b"\xc0" + payload + b"\xc0") * frames))
    started = time.process_time()
    for _ in range(frames):
        esp.read()
    return time.process_time() - started


def main() -> None:
    attach(no_log)
    from importlib import reload

    lazy = write_seconds(), read_seconds()
    stock_formatter = reload(esptool.loader).HexFormatter
    assert stock_formatter is not NoHex
    stock = write_seconds(), read_seconds()
    print(f"{'CPU s per MB':<14}{'write':>8}{'read':>8}")
    print(f"{'stock':<14}{stock[0]:>8.3f}{stock[1]:>8.3f}")
    print(f"{'driver':<14}{lazy[0]:>8.3f}{lazy[1]:>8.3f}")


if __name__ == "__main__":
    main()
