"""The boot drive: which boot ROM offers it, and copying a UF2 file onto it.

The drive takes whatever is copied to it and says nothing: what the ROM does not like it ignores, with success. Only
that the drive leaves, which it does by itself when the last block is in flash, shows that it took the file.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from drivers.base import ConnectionLost, FlashFailed, Log, Progress, WrongBoard

INFO = "INFO_UF2.TXT"
_NAME = "FIRMWARE.UF2"
_BLOCK_DEVICES = Path("/sys/dev/block")
_CHUNK = 0x8000  # bytes
_POLL_S = 0.05
_SEEN_TWICE_S = 0.2
_LEAVES_WITHIN_S = 15.0  # RP2040's ROM waits 1 s, RP2350's 0.5 s; then the host has to notice

_LINE = re.compile(r"^(Model|Board-ID):[ \t]*(.*?)[ \t]*$", re.MULTILINE)
_VERSION = re.compile(r"^UF2 Bootloader v(\S+)", re.MULTILINE)
_CHIPS = {"RPI-RP2": "rp2040", "RP2350": "rp2350"}  # by Board-ID, as the ROMs write it
_RP2040_REVISIONS = {"1.0": "B0", "2.0": "B1", "3.0": "B2"}  # RP2040 datasheet, 2.8.2: one ROM for each stepping


@dataclass(frozen=True)
class DriveInfo:
    """What INFO_UF2.TXT says. `chip` is empty for a boot loader that is not the ROM of one of these chips."""

    chip: str
    revision: str
    board: str


def parse_info(text: str) -> DriveInfo:
    """Never fails: a file that says nothing gives an empty chip."""
    lines = dict(_LINE.findall(text.replace("\r", "")))
    board = lines.get("Board-ID", "")
    chip = _CHIPS.get(board, "")
    version = _VERSION.search(text)
    revision = _RP2040_REVISIONS.get(version[1], "") if version and chip == "rp2040" else ""
    return DriveInfo(chip, revision, board)


class BootDrive:
    """The folder at which the drive appears. Its methods raise OSError, and `DeviceError` where it is the wrong one."""

    def __init__(self, mount_point: str, log: Log, leaves_within_s: float = _LEAVES_WITHIN_S) -> None:
        self._folder = Path(mount_point)
        self._log = log
        self._leaves_within_s = leaves_within_s

    @property
    def is_there(self) -> bool:
        """Whether the drive is mounted; a mount that its board has left is none."""
        try:
            return bool((self._folder / INFO).read_bytes()) and self._has_its_disk()
        except OSError:
            return False

    def _has_its_disk(self) -> bool:
        """A mount outlives its disk, and the system reads on from its memory. Only Linux tells by its sysfs."""
        if not _BLOCK_DEVICES.is_dir() or not self._folder.is_mount():
            return True
        device = self._folder.stat().st_dev
        return not os.major(device) or (_BLOCK_DEVICES / f"{os.major(device)}:{os.minor(device)}").exists()

    def info(self) -> DriveInfo:
        """Raises `WrongBoard` for the drive of another boot loader."""
        found = parse_info((self._folder / INFO).read_text("utf-8", "replace"))
        if not found.chip:
            raise WrongBoard(
                f"the drive at {self._folder} is no boot ROM's of a Pico: {found.board or 'it names no board'}",
                advice="Nothing was written. Check `mount_point`; other kinds of boards have other boot loaders.",
            )
        return found

    def copy(self, data: bytes, progress: Callable[[int], None]) -> None:
        """Copy, have it written through, and wait until the drive has left."""
        whole = False
        try:
            with (self._folder / _NAME).open("wb") as file:
                for start in range(0, len(data), _CHUNK):
                    file.write(data[start : start + _CHUNK])
                    file.flush()
                    os.fsync(file.fileno())  # the figures are what the board has taken
                    whole = start + _CHUNK >= len(data)
                    if not whole and not self.is_there:
                        raise ConnectionLost("the boot drive left in the middle of the copy")
                    progress(min(start + _CHUNK, len(data)))
        except OSError as error:
            if not whole or self.is_there:
                raise
            # The board restarts as soon as it has the last block, whatever else the host has yet to write.
            self._log(f"the drive left while its file was being closed: {error}")
        self._wait_until_gone()

    def _wait_until_gone(self) -> None:
        """Or until it is another one: a board that finds nothing to start is back in its boot loader in no time."""
        deadline = time.monotonic() + self._leaves_within_s
        while self.is_there and (self._folder / _NAME).exists():
            if time.monotonic() >= deadline:
                raise FlashFailed(
                    f"the boot loader took the file, but its drive is still there after {self._leaves_within_s:g} s: "
                    "it has ignored the file, or not had all of it",
                    advice="Unplug the board, hold BOOTSEL while plugging it in, and run it again.",
                )
            time.sleep(_POLL_S)

    def wait(self, timeout_s: float) -> bool:
        """Wait for the drive; whether it came, and stayed for a moment: mounting it takes several steps."""
        deadline = time.monotonic() + timeout_s
        while True:
            if self.is_there:
                time.sleep(_SEEN_TWICE_S)
                if self.is_there:
                    return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_S)


def share(progress: Progress, file_size: int, image_size: int) -> Callable[[int], None]:
    """Progress in bytes of the image, from bytes of its file."""
    return lambda done: progress(image_size * done // max(file_size, 1), image_size)
