"""What the harness costs per device beyond pytest's own: boards that take no time against tests that do nothing.

    .venv/bin/python benchmarks/rollout_cost.py [DEVICES] [--profile FOLDER]

Both sides run under `pytest -n 8`, one after the other. The boards are of a family of its own (instant_board.py): its
module and an entry point in the group `batch_flash.drivers` lie in a folder on PYTHONPATH, which is all that a driver
needs to be found. Every process notes its CPU time when it ends. `--profile` writes controller.pstats there.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

WORKERS = 8
HERE = Path(__file__).resolve().parent

METADATA = "Metadata-Version: 2.1\nName: instant-board\nVersion: 1.0\n"
ENTRY_POINTS = "[batch_flash.drivers]\ninstant = instant_board:DRIVER\n"

NOTE_CPU = """
import os
import resource

def pytest_unconfigure(config):
    used = resource.getrusage(resource.RUSAGE_SELF)
    side = "worker" if hasattr(config, "workerinput") else "controller"
    with open(f"cpu-{side}-{os.getpid()}", "w") as file:
        file.write(str(used.ru_utime + used.ru_stime))
"""
PLAIN = """
import pytest

@pytest.mark.parametrize("number", range({devices}))
def test_device(number):
    pass
"""


@dataclass(frozen=True)
class Cost:
    """Seconds."""

    wall_s: float
    controller_s: float
    workers_s: float


def plain(folder: Path, devices: int) -> None:
    (folder / "conftest.py").write_text(NOTE_CPU)
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_plain.py").write_text(PLAIN.format(devices=devices))


def batch(folder: Path, devices: int) -> None:
    (folder / "conftest.py").write_text(f'pytest_plugins = ["harness.plugin"]\n{NOTE_CPU}')
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "firmware.bin").write_bytes(b"1.2.0\n".ljust(0x1000, b"\0"))
    content = {
        "name": "Instant",
        "device_type": "instant",
        "version": "1.2.0",
        "images": [{"file": "firmware.bin", "address": 0}],
        "max_concurrent": WORKERS,
        "expect": {"settle": 0},
        "targets": [
            {"device_id": f"I{number:04}", "connection_info": {"port": f"/dev/instant-{number}"}}
            for number in range(devices)
        ],
    }
    (folder / "batch.yaml").write_text(json.dumps(content))


def distribution(folder: Path) -> None:
    """What an installed third party's driver leaves on the import path."""
    facts = folder / "instant_board-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(METADATA)
    (facts / "entry_points.txt").write_text(ENTRY_POINTS)
    shutil.copy(HERE / "instant_board.py", folder)


def measure(folder: Path, path: Path, arguments: Sequence[str], profile: Path | None = None) -> Cost:
    command = [sys.executable, *(("-m", "cProfile", "-o", str(profile)) if profile else ())]
    began = time.monotonic()
    done = subprocess.run(
        [*command, "-m", "pytest", "-q", "-p", "no:hypothesispytest", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{path}{os.pathsep}{HERE.parent}"},
        capture_output=True,
        text=True,
        check=False,
    )
    wall_s = time.monotonic() - began
    if done.returncode != 0:
        sys.exit(done.stdout + done.stderr)
    return Cost(wall_s, _cpu_s(folder, "controller"), _cpu_s(folder, "worker"))


def _cpu_s(folder: Path, side: str) -> float:
    return sum(float(file.read_text()) for file in folder.glob(f"cpu-{side}-*"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("devices", type=int, nargs="?", default=500)
    parser.add_argument("--profile", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        folders = {name: Path(root) / name for name in ("path", "plain", "batch")}
        for folder in folders.values():
            folder.mkdir()
        distribution(folders["path"])
        plain(folders["plain"], options.devices)
        batch(folders["batch"], options.devices)
        theirs = measure(folders["plain"], folders["path"], [f"-n{WORKERS}"])
        profile = options.profile.absolute() / "controller.pstats" if options.profile else None
        ours = measure(folders["batch"], folders["path"], ["batch.yaml", f"-n{WORKERS}"], profile)
    report(options.devices, theirs, ours)


def report(devices: int, theirs: Cost, ours: Cost) -> None:
    print(f"{devices} devices, -n {WORKERS}, {os.cpu_count()} cores")
    print(f"{'':<22}{'wall s':>10}{'controller CPU s':>18}{'workers CPU s':>15}")
    for name, cost in (("plain pytest", theirs), ("a batch", ours)):
        print(f"{name:<22}{cost.wall_s:>10.2f}{cost.controller_s:>18.2f}{cost.workers_s:>15.2f}")
    extra = (ours.wall_s - theirs.wall_s, ours.controller_s - theirs.controller_s, ours.workers_s - theirs.workers_s)
    wall, controller, workers = (1000 * seconds / devices for seconds in extra)
    print(f"{'beyond it, ms/device':<22}{wall:>10.1f}{controller:>18.1f}{workers:>15.1f}")


if __name__ == "__main__":
    main()
