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
import tempfile
from pathlib import Path

SOURCE = "batch-flash"
"""What the system names as the source of each mount of ours."""

_DEVICE = Path("/dev/fuse")
_MOUNTS = Path("/proc/self/mountinfo")
_MS_NOSUID, _MS_NODEV = 2, 4
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
    try:
        refusal = _refusal()
    except OSError as error:  # a container's rules for devices are not seen in the file's mode
        return f"{_DEVICE} can not be used: {error.strerror}"
    if refusal and (os.geteuid() == 0 or not _helper()):  # the helper is root, and no more than root
        return f"mounting takes CAP_SYS_ADMIN, or Debian's package fuse3 ({refusal})"
    return ""


def _refusal() -> str:
    """What the system says to a mount of this process's own, tried for a moment; empty where it may.

    Capabilities do not tell: a container may have them, and its sandbox refuse all the same. Raises OSError.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    with tempfile.TemporaryDirectory(prefix="batch-flash-mount-") as place:
        device = os.open(_DEVICE, os.O_RDWR)
        try:
            options = f"fd={device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}"
            if libc.mount(SOURCE.encode(), place.encode(), b"fuse", _MS_NOSUID | _MS_NODEV, options.encode()):
                return os.strerror(ctypes.get_errno())
            detach(Path(place))
        finally:
            os.close(device)
    return ""


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
