"""A board that updates itself, on a bench of its own, for the tests that have their own client."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from drivers.virtual.client import Bench
from drivers.virtual.esp import firmware
from drivers.virtual.spec import BenchSpec, BoardSpec

OLD, NEW = "1.1.0", "1.2.0"


@contextmanager
def board(folder: Path, chip: str, core: str = "esp32", **options: Any) -> Iterator[tuple[Bench, str]]:
    """The bench and the board's host:port; it runs OLD."""
    factory = folder / "factory.bin"
    factory.write_bytes(firmware.build_app(core, "demo", OLD))
    spec = BoardSpec(board_id="board", chip=chip, factory=factory, options={"chip": core, **options})
    with Bench.start(BenchSpec(state=folder, boards=(spec,))) as bench:
        yield bench, bench.boards["board"].host


def new_image(folder: Path, core: str = "esp32", **more: Any) -> Path:
    path = folder / "new.bin"
    path.write_bytes(firmware.build_app(core, "demo", NEW, **more))
    return path


def version_of(host: str, wanted: str = "", timeout_s: float = 30.0) -> str:
    """What the status page says, when it is the wanted one or the time is over; the board may be restarting."""
    end = time.monotonic() + timeout_s
    version = ""
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"http://{host}/version", timeout=10) as page:
                version = json.load(page)["version"]
        except (OSError, ValueError, urllib.error.URLError):
            version = ""
        if version and version == (wanted or version):
            break
        time.sleep(0.05)
    return version
