"""Writes the demonstration's firmware files: `python -m drivers.virtual.demo FOLDER`."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

_FAMILIES = (
    "drivers.virtual.esp.firmware",
    "drivers.virtual.avr.firmware",
    "drivers.virtual.stm32.firmware",
    "drivers.virtual.pico.firmware",
    "drivers.virtual.ota.smp_firmware",
)
"""Modules with a function `demo_files`: names and contents of a family's files."""


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
    for family in _FAMILIES:
        yield from import_module(family).demo_files()


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
