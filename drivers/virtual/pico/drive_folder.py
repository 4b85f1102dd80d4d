"""The boot drive as a plain folder: its files appear with the boot loader and go with it.

What is written to it is taken as it comes, by 512 bytes, as a disk gets its sectors. It is looked at often
while the boot loader runs: a watch on a folder tells neither how far a file has grown nor that it still grows.
A folder can not fail in the middle of a copy, as a disk that is pulled does: the file vanishes, its writer goes on.
"""

from __future__ import annotations

import asyncio
import shutil
import stat
from contextlib import suppress
from pathlib import Path

from drivers.virtual.pico.chips import Chip
from drivers.virtual.pico.drive import TakeSector, contents
from drivers.virtual.pico.uf2_blocks import SECTOR

_POLL_S = 0.02
_PIECE = 128 * SECTOR  # bytes that are read at once


class DriveFolder:
    """See `drivers.virtual.pico.drive.Drive`."""

    def __init__(self, path: Path, why_no_mount: str) -> None:
        self.path = path
        self.kind = f"a plain folder: {why_no_mount}"
        self._own: frozenset[str] = frozenset()
        self._taken: dict[
            str, tuple[int, int, int]
        ] = {}  # by name: inode, bytes that were taken, time of the last change

    @property
    def is_in_use(self) -> bool:
        return bool(self._taken)

    def show(self, chip: Chip, serial: str) -> None:
        """INFO_UF2.TXT last, since it is what hosts wait for."""
        self.hide()
        self.path.mkdir(parents=True, exist_ok=True)
        files = contents(chip, serial)
        self._own = frozenset(files)
        for name, data in files.items():
            whole = self.path.parent / f".{name}"  # on the same file system; a reader must never see half of it
            whole.write_bytes(data)
            whole.replace(self.path / name)

    def hide(self) -> None:
        self._taken.clear()
        with suppress(FileNotFoundError):
            (self.path / "INFO_UF2.TXT").unlink()
        for entry in self._entries():
            with suppress(OSError):
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()

    def _entries(self) -> list[Path]:
        try:
            return sorted(self.path.iterdir())
        except OSError:
            return []

    async def serve(self, take: TakeSector) -> None:
        while True:
            for entry in self._entries():
                if entry.name not in self._own and await self._take_file(entry, take):
                    return
            await asyncio.sleep(_POLL_S)

    async def _take_file(self, path: Path, take: TakeSector) -> bool:
        while piece := self._new_bytes(path):
            for start in range(0, len(piece), SECTOR):
                if await take(piece[start : start + SECTOR]):
                    return True
        return False

    def _new_bytes(self, path: Path) -> bytes:
        """Whole sectors that were not taken yet."""
        try:
            about = path.lstat()
            inode, taken, changed = self._taken.get(path.name, (about.st_ino, 0, 0))
            if (
                inode != about.st_ino
                or about.st_size < taken
                or (about.st_size == taken and about.st_mtime_ns != changed)
            ):
                taken = 0  # another file, or the same one from its beginning again
            if not stat.S_ISREG(about.st_mode) or about.st_size - taken < SECTOR:
                return b""
            with path.open("rb") as file:
                file.seek(taken)
                data = file.read(_PIECE)
        except OSError:
            return b""
        data = data[: len(data) // SECTOR * SECTOR]
        self._taken[path.name] = (about.st_ino, taken + len(data), about.st_mtime_ns)
        return data
