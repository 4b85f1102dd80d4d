"""The boot drive as a mount (FUSE): it comes and goes with the boot loader, and fails its writers as a lost disk does.

It is what Linux shows of such a disk with `mount -t vfat -o sync`: a write returns when the board has programmed its
sectors, and fails with EIO when the drive leaves meanwhile. The mount leaves at once, as with a lazy unmount; who has a
file open there gets EIO for whatever would reach the disk. Closing a file tells nothing, as on vfat.

libfuse calls from threads of its own; the board lives in the event loop. They meet in `_Disk`, under its lock.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import stat
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from drivers.virtual.errors import BenchError
from drivers.virtual.pico import mounts
from drivers.virtual.pico.chips import Chip
from drivers.virtual.pico.drive import TakeSector, contents
from drivers.virtual.pico.uf2_blocks import SECTOR

_CAPACITY = 128 << 20  # bytes, as the ROMs say of their disk
_MOUNTED_WITHIN_S = 10.0
_NO_LOG = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda _level, _format, _values: None)


@dataclass(frozen=True)
class _Written:
    """Sectors on their way to the board; `taken` when it has them."""

    sectors: list[bytes]
    taken: Future[None] = field(default_factory=Future)


class _Disk:
    """The file system of one appearance of the drive, as `mfusepy` asks it: by paths, on any thread. Raises OSError."""

    use_ns = True  # times in nanoseconds, as mfusepy wants to be told

    def __init__(self, files: Mapping[str, bytes], send: Callable[[_Written], object]) -> None:
        self._files = {f"/{name}": bytearray(data) for name, data in files.items()}
        self._own = frozenset(self._files)
        self._send = send
        self._since_ns = time.time_ns()
        self._lock = threading.Lock()
        self._pending: set[Future[None]] = set()
        self._gone = False
        self._completed = False
        self._answered = threading.Event()
        self._ended = ""

    def mount(self, path: Path) -> None:
        """Raises BenchError."""
        here = Path.cwd()
        threading.Thread(target=self._serve, args=(path,), daemon=True, name=f"drive {path}").start()
        if not self._answered.wait(_MOUNTED_WITHIN_S) or self._ended:
            raise BenchError(f"the drive could not be mounted at {path}: {self._ended or 'libfuse does not answer'}")
        os.chdir(here)  # libfuse has left it

    def _serve(self, path: Path) -> None:
        """Until the mount is gone, and nobody has a file of it open any more."""
        import mfusepy

        if hasattr(mfusepy._libfuse, "fuse_set_log_func"):
            mfusepy._libfuse.fuse_set_log_func(_NO_LOG)  # its words about its signal handlers, which nobody uses
        try:
            mfusepy.FUSE(self, str(path), foreground=True, fsname=mounts.SOURCE, subtype="rpi-rp2")
        except RuntimeError as error:
            self._ended = f"libfuse ends with status {error}"
        self._answered.set()

    @property
    def is_in_use(self) -> bool:
        return self._files.keys() != self._own

    def complete(self) -> None:
        """The board has all that it waits for: it takes what comes until it restarts, and does nothing with it."""
        with self._lock:
            self._completed = True

    def end(self) -> None:
        """From now on nothing reaches the board."""
        with self._lock:
            self._gone = True

    def fail_writers(self) -> None:
        """Those that still wait for the board."""
        for taken in tuple(self._pending):
            if not taken.done():
                taken.set_exception(OSError(errno.EIO, os.strerror(errno.EIO)))

    def _need_disk(self) -> None:
        if self._gone:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def _file(self, path: str) -> bytearray:
        try:
            return self._files[path]
        except KeyError:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT)) from None

    # What follows is called by libfuse.

    def init(self, _path: str) -> None:
        self._answered.set()

    def getattr(self, path: str, _handle: int | None = None) -> dict[str, int]:
        about = {"st_uid": os.getuid(), "st_gid": os.getgid()}
        about |= dict.fromkeys(("st_atime", "st_mtime", "st_ctime"), self._since_ns)
        if path == "/":
            return about | {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}
        return about | {"st_mode": stat.S_IFREG | 0o755, "st_nlink": 1, "st_size": len(self._file(path))}

    def readdir(self, _path: str, _handle: int) -> list[str]:
        return [".", "..", *(path[1:] for path in tuple(self._files))]

    def statfs(self, _path: str) -> dict[str, int]:
        blocks = _CAPACITY // SECTOR
        return {"f_bsize": SECTOR, "f_frsize": SECTOR, "f_blocks": blocks, "f_bfree": blocks, "f_bavail": blocks}

    def create(self, path: str, _mode: int) -> int:
        self._need_disk()
        self._files[path] = bytearray()
        return 0

    def open(self, path: str, flags: int) -> int:
        self._file(path)
        if flags & os.O_TRUNC:
            self.truncate(path, 0)
        return 0

    def read(self, path: str, size: int, offset: int, _handle: int) -> bytes:
        return bytes(self._file(path)[offset : offset + size])

    def truncate(self, path: str, length: int, _handle: int | None = None) -> None:
        self._need_disk()
        file = self._file(path)
        self._files[path] = file[:length] + bytes(max(0, length - len(file)))

    def write(self, path: str, data: bytes, offset: int, _handle: int) -> int:
        written = self._accept(path, data, offset)
        if written is not None:
            written.taken.result()
        return len(data)

    def _accept(self, path: str, data: bytes, offset: int) -> _Written | None:
        """What has become whole sectors by this write; None where the board waits for nothing any more."""
        with self._lock:
            self._need_disk()
            file, end = self._file(path), offset + len(data)
            if end > _CAPACITY:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            file.extend(bytes(max(0, offset - len(file))))
            file[offset:end] = data
            first = offset - offset % SECTOR
            starts = range(first, min(end, len(file) - SECTOR + 1), SECTOR)
            if self._completed or not starts:
                return None
            written = _Written([bytes(file[at : at + SECTOR]) for at in starts])
            self._pending.add(written.taken)
            written.taken.add_done_callback(self._pending.discard)
            self._send(written)
            return written

    def fsync(self, _path: str, _datasync: int, _handle: int) -> None:
        """A board that has it all waits for half a second at least: real hosts are through by then, at any speed."""
        if not self._completed:
            self._need_disk()

    def unlink(self, path: str) -> None:
        self._need_disk()
        self._file(path)
        del self._files[path]

    def rename(self, old: str, new: str) -> None:
        self._need_disk()
        self._files[new] = self._file(old)
        del self._files[old]

    def chmod(self, _path: str, _mode: int) -> None:
        """FAT has no modes."""

    def utimens(self, _path: str, _times: tuple[int, int] | None = None) -> None:
        """Nor does this disk keep times."""


class MountedDrive:
    """See `drivers.virtual.pico.drive.Drive`."""

    kind = "mounted by FUSE"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._disk: _Disk | None = None
        self._arrived: asyncio.Queue[_Written] = asyncio.Queue()

    @property
    def is_in_use(self) -> bool:
        return self._disk is not None and self._disk.is_in_use

    def show(self, chip: Chip, serial: str) -> None:
        self.hide()
        self.path.mkdir(parents=True, exist_ok=True)
        loop, arrived = asyncio.get_running_loop(), asyncio.Queue[_Written]()
        self._arrived = arrived
        self._disk = _Disk(
            contents(chip, serial), lambda written: loop.call_soon_threadsafe(arrived.put_nowait, written)
        )
        self._disk.mount(self.path)

    def hide(self) -> None:
        disk, self._disk = self._disk, None
        if disk is None:
            return
        disk.end()
        mounts.detach(self.path)
        disk.fail_writers()  # after it: who is told finds the mount gone

    async def serve(self, take: TakeSector) -> None:
        disk = self._disk
        assert disk is not None, "the drive is shown before it is served"
        completed = False
        while not completed:
            written = await self._arrived.get()
            for sector in written.sectors:
                completed = completed or await take(sector)
            if completed:
                disk.complete()
            if not written.taken.done():
                written.taken.set_result(None)
