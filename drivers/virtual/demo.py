"""Writes the demonstration's firmware files: `python -m drivers.virtual.demo FOLDER`."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from drivers.virtual import firmware
from drivers.virtual.esp.chips import CHIPS
from drivers.virtual.esp.virtual_app import Behaviour

PROJECT = "demo"
INSTALLED, NEXT, BROKEN = "1.1.0", "1.2.0", "1.3.0"


def make_demo_firmware(out: Path) -> None:
    """Write the demonstration's files into `out`; files that are right already are left alone.

    Each appears at once and whole, so that several processes may do this at the same time.
    """
    out.mkdir(parents=True, exist_ok=True)
    for name, contents in _files():
        path = out / name
        if not path.exists() or path.read_bytes() != contents:
            _write(path, contents)


def _files() -> Iterator[tuple[str, bytes]]:
    for chip in CHIPS:
        yield f"demo-{chip}-{INSTALLED}.factory.bin", firmware.merged_image(chip, PROJECT, INSTALLED)
        yield f"demo-{chip}-{NEXT}.bin", firmware.build_app(chip, PROJECT, NEXT)
    yield f"demo-esp32-{NEXT}.bootloader.bin", firmware.build_bootloader("esp32", NEXT)
    yield f"demo-esp32-{NEXT}.partition-table.bin", firmware.build_partition_table()
    # Every check passes, the board starts it, and it aborts: what only a boot test finds.
    yield f"demo-esp32-{BROKEN}-noboot.bin", firmware.build_app("esp32", PROJECT, BROKEN, behaviour=Behaviour.ABORT)


def _write(path: Path, contents: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    with os.fdopen(handle, "wb") as file:
        os.fchmod(handle, 0o644)  # mkstemp's files are the owner's alone
        file.write(contents)
    Path(name).replace(path)


def main() -> int:
    """The command; 2 when it is called wrongly."""
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python -m drivers.virtual.demo FOLDER\n")
        return 2
    make_demo_firmware(Path(sys.argv[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
