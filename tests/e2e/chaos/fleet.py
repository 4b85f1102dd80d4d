"""Eight boards on a bench of the test's own, and the checkout of a lab that reaches them by their ports."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from drivers.virtual.client import Bench
from drivers.virtual.esp import firmware
from drivers.virtual.esp.firmware import INSTALLED, NEXT, PROJECT
from drivers.virtual.esp.partitions import TABLE_AT
from drivers.virtual.spec import BenchSpec, BoardSpec, Fault, Panics, SlowErase
from harness.ledger import Ledger
from tests.e2e.project import BOARDS, device_type

VERSIONS = (INSTALLED, NEXT)
SEVERAL_IMAGES = BOARDS[0]
"""This board gets boot loader and partition table, too: between two images it is on neither firmware."""

_SECTOR = 0x1000
_FLASH_SIZES = {"esp32": 2 << 20, "esp8266": 1 << 20}
_SLOW_ERASE_S = 0.25  # a block; at the bench's speed a whole update would be done in 30 ms, and seldom hit


@dataclass(frozen=True)
class Image:
    path: Path
    address: int


class Fleet(AbstractContextManager["Fleet"]):
    """The boards keep their flash and their supply while runs come, are killed and go."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._firmware = folder / "firmware"
        self._states = 0
        self._bench: Bench | None = None
        self._power_returns: dict[str, float] = {}
        self._make_project()
        self.begin_anew()

    def _make_project(self) -> None:
        self._firmware.mkdir(parents=True)
        (self.folder / "conftest.py").write_text('pytest_plugins = ["harness.plugin"]\n')
        (self.folder / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers\n")
        for kind in _FLASH_SIZES:
            self._factory(kind).write_bytes(firmware.merged_image(kind, PROJECT, INSTALLED))
            for version in VERSIONS:
                self._app(kind, version).write_bytes(firmware.build_app(kind, PROJECT, version))
        for version in VERSIONS:
            (self._firmware / f"bootloader-{version}.bin").write_bytes(firmware.build_bootloader("esp32", version))
        (self._firmware / "table.bin").write_bytes(firmware.build_partition_table())

    def _factory(self, kind: str) -> Path:
        return self._firmware / f"{kind}.factory.bin"

    def _app(self, kind: str, version: str) -> Path:
        return self._firmware / f"{kind}-{version}.bin"

    @property
    def bench(self) -> Bench:
        assert self._bench is not None, "begin_anew has made one"
        return self._bench

    def begin_anew(self) -> None:
        """Boards as from the factory, on a new bench."""
        self.close()
        self._states += 1
        boards = tuple(
            BoardSpec(
                board_id=board,
                chip=device_type(board),
                flash_size=_FLASH_SIZES[device_type(board)],
                factory=self._factory(device_type(board)),
            )
            for board in BOARDS
        )
        self._bench = Bench.start(BenchSpec(state=self._state, boards=boards))

    @property
    def _state(self) -> Path:
        return self.folder / f"bench-{self._states}"

    def close(self) -> None:
        if self._bench is not None:
            self._bench.stop()
            self._bench = None

    def __exit__(self, *_error: object) -> None:
        self.close()

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.runs / "ledger.sqlite", create=False)

    # Flash

    def flash(self, board: str) -> bytes:
        return (self._state / board / "flash.bin").read_bytes()

    def contents(self) -> dict[str, bytes]:
        return {board: self.flash(board) for board in BOARDS}

    def images(self, board: str, version: str) -> list[Image]:
        kind = device_type(board)
        app = Image(self._app(kind, version), 0 if kind == "esp8266" else firmware.APP_AT)
        if board != SEVERAL_IMAGES:
            return [app]
        bootloader = Image(self._firmware / f"bootloader-{version}.bin", 0x1000)
        return [bootloader, Image(self._firmware / "table.bin", TABLE_AT), app]

    def written(self, board: str, before: bytes, version: str) -> bytes:
        """The flash with this version in it: sectors that are erased for an image are 0xFF behind it."""
        for image in self.images(board, version):
            data = image.path.read_bytes()
            end = -(-(image.address + len(data)) // _SECTOR) * _SECTOR
            before = before[: image.address] + data.ljust(end - image.address, b"\xff") + before[end:]
        return before

    def holders(self, version: str) -> list[str]:
        return [board for board in BOARDS if self.flash(board) == self.written(board, self.flash(board), version)]

    def keep(self, boards: Iterable[str], folder: Path) -> None:
        """Copies of their flash."""
        for board in boards:
            shutil.copy(self._state / board / "flash.bin", folder / f"{board}.flash.bin")

    # Supply and faults

    def set_faults(self, panicking: Iterable[str], version: str) -> None:
        """Erases take their time on all boards; the version crashes on some."""
        for board in BOARDS:
            faults: list[Fault] = [SlowErase(fault="slow-erase", seconds=_SLOW_ERASE_S)]
            if board in panicking:
                faults.append(Panics(fault="panics", versions=(version,)))
            self.bench.set_faults(board, faults)

    def cut_power(self, board: str, off_s: float) -> None:
        self.bench.power(board, on=False)
        self._power_returns[board] = time.monotonic() + off_s

    def attend(self) -> None:
        """Time has passed: boards whose outage is over get their power back."""
        for board, at in tuple(self._power_returns.items()):
            if time.monotonic() >= at:
                self._restore_power(board)

    def restore_power(self) -> None:
        for board in tuple(self._power_returns):
            self._restore_power(board)

    def _restore_power(self, board: str) -> None:
        del self._power_returns[board]
        self.bench.power(board, on=True)

    # Batches

    def write_batch(self, name: str, version: str, *, gradual: bool) -> Path:
        """A batch of all boards; `gradual`: in two waves, and a gate that the second can fail."""
        batch: dict[str, Any] = {
            "name": name,
            "device_type": "esp32",
            "version": version,
            "targets": [self._target(board, version) for board in BOARDS],
            "expect": {"settle": 0.2},
            "flash_settings": {"max_retries": 1},
            "error_handling": {"retry_delay": 0.1, "quarantine_after": 0},
        }
        if gradual:
            batch |= {"strategy": "gradual", "waves": [3, 5], "success_threshold": 90}
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(batch, sort_keys=False))
        return path

    def _target(self, board: str, version: str) -> dict[str, object]:
        images = [{"file": str(image.path), "address": image.address} for image in self.images(board, version)]
        return {
            "device_id": board,
            "device_type": device_type(board),
            "connection_info": {"port": self.bench.boards[board].url},
            "images": images,
        }


def some_boards(random_: random.Random, count: int) -> list[str]:
    """Some of the second wave's: the first has to pass for a batch rollback to have anything to do."""
    return random_.sample(BOARDS[3:], count)
