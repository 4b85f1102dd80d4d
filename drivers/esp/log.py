"""esptool's module state, taken in hand once: its settings, its logger, and the cost of its tracing.

The logger is a singleton of esptool, hence one device per process at a time; what it says goes to the session that
works now. Import esptool through this module only.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from drivers.base import Log, Progress

# Read when esptool is imported, otherwise from the folder that the run was started in.
os.environ.setdefault("ESPTOOL_CFGFILE", str(Path(__file__).with_name("esptool.cfg")))

import esptool
import esptool.loader
import esptool.reset
from esp_pylib.logger import EspLog, EspLogBase
from rich.errors import MarkupError
from rich.text import Text

__all__ = ["DeviceLogger", "attach", "esptool", "no_log", "no_progress"]


def no_progress(_done: int, _total: int) -> None:
    """For what takes no time worth showing."""


def no_log(_line: str) -> None:
    """For what is said of files, not of a device."""


class NoHex:
    """Stands in for esptool's HexFormatter, which dumps every packet before it looks whether tracing is on.

    The dumps are most of a transfer's CPU time (benchmarks/esptool_cpu.py).
    """

    def __init__(self, *_args: object) -> None: ...

    def __str__(self) -> str:
        return ""


class DeviceLogger(EspLogBase):
    """Collects esptool's output to whole lines of plain text, for whoever `attach`ed last."""

    def __init__(self) -> None:
        self._line = ""
        self._log: Log = no_log
        self._progress: Progress = no_progress

    def attach(self, log: Log, progress: Progress) -> None:
        self._line = ""
        self._log = log
        self._progress = progress

    def print(self, *args: object, **kwargs: Any) -> None:
        text = " ".join(str(arg) for arg in args) + str(kwargs.get("end", "\n"))
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self._say(line)

    def _say(self, line: str) -> None:
        try:
            plain = Text.from_markup(line).plain
        except MarkupError:
            plain = line
        if plain.strip():
            self._log(plain.strip())

    def err(self, *args: object, suggestion: str | None = None) -> None:
        self.print("Error:", *args, suggestion or "")

    def warn(self, *args: object, suggestion: str | None = None) -> None:
        self.print("Warning:", *args, suggestion or "")

    def note(self, *args: object) -> None:
        self.print("Note:", *args)

    def hint(self, *args: object) -> None:
        self.print("Hint:", *args)

    def debug(self, *args: object) -> None:
        """esptool's debug lines tell of its own start, not of the device."""

    # The names of esptool 4, which parts of it and third parties still call.
    warning, error = warn, err

    def set_verbosity(self, mode: int | str) -> None:
        """Everything is kept: the reader of a report chooses."""

    def progress_bar(
        self,
        cur_iter: int,
        total_iters: int,
        prefix: str = "",  # noqa: ARG002  (esp_pylib's signature)
        suffix: str = "",  # noqa: ARG002
        bar_length: int = 30,  # noqa: ARG002
    ) -> None:
        self._progress(cur_iter, total_iters)


_HexFormatter = esptool.loader.HexFormatter
_logger = DeviceLogger()
EspLog.set_logger(_logger)


def attach(log: Log, progress: Progress = no_progress, *, trace: bool = False) -> None:
    """Send esptool's lines and progress there from now on; `trace` for sessions that show every packet."""
    esptool.loader.HexFormatter = _HexFormatter if trace else NoHex
    # That a port has no lines to reset a board with, it says of the process's first port only, and past its logger.
    esptool.reset.ResetStrategy.print_once = esptool.util.PrintOnce(_logger.warn)
    _logger.attach(log, progress)
