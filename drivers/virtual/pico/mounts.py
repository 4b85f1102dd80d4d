"""What this system lets a bench mount, and taking away what it has mounted.

FUSE through PyPI's `mfusepy` (ISC licence), which needs Debian's `libfuse3-3` (LGPL-2.1), loaded by it at run time.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import shutil
import subprocess
from pathlib import Path

SOURCE = "batch-flash"
"""What the system names as the source of each mount of ours."""

_DEVICE = Path("/dev/fuse")
_MOUNTS = Path("/proc/self/mountinfo")
_STATUS = Path("/proc/self/status")
_CAP_SYS_ADMIN = 21
_MNT_DETACH = 2


def why_none() -> str:
    """Why nothing can be mounted here; empty where it can."""
    if platform.system() != "Linux":
        return "only Linux's mounts are known"
    try:
        import mfusepy  # noqa: F401
    except ImportError:
        return "mfusepy is not installed: pip install 'batch-flash[fuse]'"
    except (OSError, AttributeError) as error:
        return f"libfuse can not be loaded ({error}): apt-get install libfuse3-3"
    if not os.access(_DEVICE, os.R_OK | os.W_OK):
        return f"{_DEVICE} is not there, or may not be opened"
    if not (_may_mount() or _helper()):
        return "mounting takes CAP_SYS_ADMIN, or Debian's package fuse3"
    return ""


def _may_mount() -> bool:
    capabilities = dict(line.split(":\t", 1) for line in _STATUS.read_text().splitlines() if ":\t" in line)
    return bool(int(capabilities["CapEff"], 16) >> _CAP_SYS_ADMIN & 1)


def _helper() -> str | None:
    """The program that mounts and unmounts for users."""
    return shutil.which("fusermount3") or shutil.which("fusermount")


def detach(path: Path) -> None:
    """Take a mount away at once, whoever has files open there (a lazy unmount); nothing to do where there is none.

    Raises OSError.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.umount2(os.fsencode(path), _MNT_DETACH) == 0:
        return
    number, helper = ctypes.get_errno(), _helper()
    if number in (errno.EINVAL, errno.ENOENT):
        return
    if number == errno.EPERM and helper and not subprocess.call([helper, "-u", "-z", "-q", "--", str(path)]):
        return
    raise OSError(number, os.strerror(number), str(path))


def clear(path: Path) -> None:
    """Take away what a bench that was killed has left mounted there: it is dead, and in the way. Raises OSError."""
    for _mount in range(_ours(path)):
        detach(path)


def _ours(path: Path) -> int:
    """How many mounts of ours are stacked there. A dead one can not be looked at: only the system's list tells."""
    if not _MOUNTS.exists():
        return 0
    mounts = [line.split() for line in _MOUNTS.read_text().splitlines()]
    place = str(path.parent.resolve() / path.name).encode()
    return sum(_unescaped(mount[4]) == place and mount[mount.index("-") + 2] == SOURCE for mount in mounts)


def _unescaped(text: str) -> bytes:
    """White space stands there as octal numbers."""
    return text.encode("utf-8", "surrogateescape").decode("unicode_escape").encode("latin-1")
