"""Tools of others as separate processes: those of `.venv/stock` (`make .venv/stock/.ready`), and imgtool."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

STOCK = Path(sys.prefix) / "stock"
LIMIT_S = 60


def run(*command: object, tools: bool = True) -> subprocess.CompletedProcess[str]:
    """The finished process of a Python command line such as ("-m", "smpmgr", "--help")."""
    assert STOCK.joinpath(".ready").exists(), "run `make .venv/stock/.ready` first"
    environment = {**os.environ, "PYTHONPATH": str(STOCK), "COLUMNS": "200", "NO_COLOR": "1"} if tools else None
    return subprocess.run(
        [sys.executable, *map(str, command)],
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=LIMIT_S,
        check=False,
    )


def imgtool_sign(body: bytes, version: str, folder: Path, *options: str) -> bytes:
    """What the real `imgtool sign` makes of a body."""
    plain, signed = folder / f"{version}.bin", folder / f"{version}.signed.bin"
    plain.write_bytes(body)
    sign = ("sign", "--version", version, "--header-size", "0x200", "--pad-header", "--align", "8")
    done = run("-m", "imgtool.main", *sign, "--slot-size", "0x76000", *options, plain, signed, tools=False)
    assert done.returncode == 0, done.stdout
    return signed.read_bytes()
