"""A lab's checkout in a temporary folder: real pytest runs of real batches on a bench of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from harness.journal import read
from harness.record import DeviceRecord, fold
from harness.runs import RunFolder
from harness.store import Store

BOARDS = (*(f"ESP32_{n:03}" for n in range(1, 7)), "ESP8266_001", "ESP8266_002")
TIMEOUT_S = 300


def device_type(device_id: str) -> str:
    return device_id.split("_", maxsplit=1)[0].lower()


@dataclass(frozen=True)
class Result:
    """A finished pytest run."""

    returncode: int
    output: str
    project: Project

    @cached_property
    def folder(self) -> RunFolder:
        return RunFolder((self.project.path / "runs" / "latest").resolve())

    @cached_property
    def report(self) -> dict[str, Any]:
        return json.loads(self.folder.json.read_text())

    def outcomes(self) -> dict[str, str]:
        return {device["device_id"]: device["outcome"] for device in self.report["devices"]}

    def device(self, device_id: str) -> dict[str, Any]:
        return next(device for device in self.report["devices"] if device["device_id"] == device_id)

    def journal(self, device_id: str) -> DeviceRecord:
        return fold(DeviceRecord(device_id, "", ""), read(self.folder.journal(device_id)))


@dataclass(frozen=True)
class Project:
    path: Path
    firmware: Path

    def write_batch(self, name: str = "fleet.yaml", **changes: Any) -> Path:
        path = self.path / name
        path.write_text(yaml.safe_dump(self.batch(**changes), sort_keys=False))
        return path

    def batch(
        self,
        boards: Sequence[str] = BOARDS,
        faults: Mapping[str, list[dict[str, Any]]] | None = None,
        targets: Mapping[str, dict[str, Any]] | None = None,
        **keys: Any,
    ) -> dict[str, Any]:
        """A batch of virtual boards on 1.1.0 that are to go to 1.2.0; `targets` and `keys` change it."""
        return {
            "name": "Fleet",
            "device_type": "esp32",
            "version": "1.2.0",
            "targets": [
                self._target(board, (faults or {}).get(board, []), (targets or {}).get(board, {})) for board in boards
            ],
            "error_handling": {"retry_delay": 0.1},
            **keys,
        }

    def _target(self, board: str, faults: list[dict[str, Any]], changes: dict[str, Any]) -> dict[str, Any]:
        kind = device_type(board)
        virtual: dict[str, Any] = {"factory": str(self.factory(kind)), "keep": False}
        if faults:
            virtual["faults"] = faults
        return {
            "device_id": board,
            "device_type": kind,
            "firmware_file": str(self.image(kind)),
            "connection_info": {"port": "virtual"},
            "virtual": virtual,
            **changes,
        }

    def image(self, kind: str) -> Path:
        return self.firmware / f"demo-{kind}-1.2.0.bin"

    def factory(self, kind: str) -> Path:
        return self.firmware / f"demo-{kind}-1.1.0.factory.bin"

    def flash(self, board: str) -> bytes:
        return (self.path / ".bench" / board / "flash.bin").read_bytes()

    def old_flash(self, board: str) -> bytes:
        factory = self.factory(device_type(board)).read_bytes()
        return factory.ljust(len(self.flash(board)), b"\xff")

    def new_flash(self, board: str) -> bytes:
        """The old flash with the new app in place of the old one: sectors that were erased for it are 0xFF."""
        kind = device_type(board)
        address = 0 if kind == "esp8266" else 0x10000
        image = self.image(kind).read_bytes()
        end = -(-(address + len(image)) // 0x1000) * 0x1000
        old = self.old_flash(board)
        return old[:address] + image.ljust(end - address, b"\xff") + old[end:]

    @property
    def store(self) -> Store:
        return Store(self.path / "store")

    def start(self, *arguments: str, terminal: int | None = None) -> subprocess.Popen[str]:
        """A run in the background, in a process group of its own; on that terminal (a descriptor), or on a pipe."""
        # What runs under nohup, as the tests themselves may, has SIGHUP ignored, and every run would inherit that.
        on_terminal = ("setsid", "--ctty", "env", "--default-signal=HUP") if terminal is not None else ()
        return subprocess.Popen(
            # Hypothesis' plugin imports all of Hypothesis at the end of every worker: a second of CPU each
            [*on_terminal, sys.executable, "-m", "pytest", "-p", "no:hypothesispytest", *arguments],
            cwd=self.path,
            stdin=subprocess.DEVNULL if terminal is None else terminal,
            stdout=subprocess.PIPE if terminal is None else terminal,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=terminal is None,
            env={key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")},
        )

    def run(self, *arguments: str) -> Result:
        process = self.start(*arguments)
        try:
            output, _ = process.communicate(timeout=TIMEOUT_S)
        finally:
            process.kill()
            process.wait()
        return Result(process.returncode, output, self)
