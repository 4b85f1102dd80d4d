"""The boot drive as a plain folder: its files appear with the boot loader and go with it.

What is written to it is taken as it comes, by 512 bytes, as a disk gets its sectors. It is looked at often
while the boot loader runs: a watch on a folder tells neither how far a file has grown nor that it still grows.
A folder can not fail in the middle of a copy, as a disk that is pulled does: the file vanishes, its writer goes on.
"""

from __future__ import annotations

import asyncio
import shutil
import stat
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from drivers.virtual.pico.chips import Chip
from drivers.virtual.pico.uf2_blocks import SECTOR

_POLL_S = 0.02
_PIECE = 128 * SECTOR  # bytes that are read at once
_PAGE_OF_VENDOR = (
    '<html><head><meta http-equiv="refresh" content="0;URL=\'https://raspberrypi.com/device/RP2?version={version}\'"/>'
    "</head><body>Redirecting to <a href='https://raspberrypi.com/device/RP2?version={version}'>raspberrypi.com</a>"
    "</body></html>\n"
)

TakeSector = Callable[[bytes], Awaitable[bool]]


class DriveFolder:
    """The folder at which the drive of one board appears."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._own: frozenset[str] = frozenset()
        self._taken: dict[
            str, tuple[int, int, int]
        ] = {}  # by name: inode, bytes that were taken, time of the last change

    @property
    def is_in_use(self) -> bool:
        """Whether somebody has copied something to it."""
        return bool(self._taken)

    def show(self, chip: Chip, serial: str) -> None:
        """The drive appears; INFO_UF2.TXT last, since it is what hosts wait for."""
        self.hide()
        self.path.mkdir(parents=True, exist_ok=True)
        files = {"INDEX.HTM": _PAGE_OF_VENDOR.format(version=serial[:12]), "INFO_UF2.TXT": chip.info}
        self._own = frozenset(files)
        for name, text in files.items():
            whole = self.path.parent / f".{name}"  # on the same file system; a reader must never see half of it
            whole.write_text(text)
            whole.replace(self.path / name)

    def hide(self) -> None:
        """The drive leaves, with all that was copied to it."""
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
        """Hand over each sector that is written, until one of them completes a transfer. Raises what `take` raises."""
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
