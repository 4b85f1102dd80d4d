"""Seconds to identify a virtual ESP32 and read 256 KiB of its flash, over pyserial's RFC2217 client and over ours.

.venv/bin/python benchmarks/rfc2217_client.py
"""

from __future__ import annotations

import tempfile
import time
import warnings
from pathlib import Path
from unittest import mock

import serial

from drivers import esp
from drivers.base import Link, Region
from drivers.virtual.client import Bench
from drivers.virtual.spec import BenchSpec, BoardSpec

SIZE = 0x40000


def stock_port(url: str) -> serial.Serial:
    return serial.serial_for_url(url, do_not_open=True)


def measure(url: str) -> tuple[float, float, float]:
    session = esp.ESP32.open(Link(url, 115200, 921600), lambda _line: None)
    started, cpu = time.monotonic(), time.process_time()
    session.connect()
    connected = time.monotonic()
    session.read(Region(0, SIZE), lambda _done, _total: None)
    done = time.monotonic()
    session.close()
    return connected - started, done - connected, time.process_time() - cpu


def main() -> None:
    warnings.simplefilter("ignore", DeprecationWarning)
    with tempfile.TemporaryDirectory() as state:
        spec = BenchSpec(state=Path(state), boards=(BoardSpec(board_id="A", chip="esp32"),))
        with Bench.start(spec) as bench:
            url = bench.boards["A"].url
            with mock.patch.object(esp, "closed_port", stock_port):
                stock = measure(url)
            ours = measure(url)
    print(f"{'':<12}{'connect s':>10}{'read s':>10}{'CPU s':>10}")
    for name, row in (("pyserial", stock), ("ours", ours)):
        print(f"{name:<12}" + "".join(f"{value:>10.2f}" for value in row))


if __name__ == "__main__":
    main()
