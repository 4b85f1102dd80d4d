"""Drives of UF2 boot loaders: mounted folders with an INFO_UF2.TXT.

Sources: the UF2 specification (microsoft/uf2, "Files exposed by bootloaders"); the RP2040's boot ROM: `UF2 Bootloader
v3.0`, `Model: Raspberry Pi RP2`, `Board-ID: RPI-RP2`; the RP2350's: `Board-ID: RP2350`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from drivers.virtual.pico.mounts import SOURCE as OF_A_BENCH
from harness.discovery.sighting import Connection, Sighting, plain

INFO_FILE = "INFO_UF2.TXT"
_INFO_SIZE = 4096  # bytes that are read of it; a boot loader's has about 60
_FILE_SYSTEMS = ("vfat", "msdos", "exfat", "fuse")  # no others are looked into: a dead network share would hang us

_TYPES_BY_BOARD_ID = {"RPI-RP2": ("pico",), "RP2350": ("pico2",)}


def sightings(mounts: Path, folders: Iterable[Path], sysfs: Path) -> Iterator[Sighting]:
    """Drives among the mounted file systems (`mounts` is /proc/mounts) and in the folders that were named."""
    mounted = dict(_mounted(mounts))
    for folder in dict.fromkeys((*mounted, *(folder.absolute() for folder in folders))):
        info = _info(folder)
        if info is not None:
            yield _sighting(folder, info, _usb_device(mounted.get(folder, ""), sysfs))


def _info(folder: Path) -> str | None:
    try:
        with (folder / INFO_FILE).open("rb") as file:
            return file.read(_INFO_SIZE).decode("utf-8", "replace")
    except OSError:
        return None


def _sighting(folder: Path, text: str, usb_device: str) -> Sighting:
    info = parse_info(text)
    board_id = info.get("Board-ID", "")
    return Sighting(
        source="drive",
        keys=frozenset({f"drive:{os.path.realpath(folder)}", *([f"usb:{usb_device}"] if usb_device else [])}),
        connection=Connection(mount_point=str(folder)),
        types=_TYPES_BY_BOARD_ID.get(board_id, ()),
        certain=board_id in _TYPES_BY_BOARD_ID,
        name=f"{info.get('Model') or board_id or 'UF2 boot loader'}, in its boot loader",
        remarks=(
            "the drive's name follows the order of plugging in, and its boot loader tells boards apart by nothing else",
        )
        if board_id in _TYPES_BY_BOARD_ID
        else ("no driver here for boot drives of this kind",),
    )


def parse_info(text: str) -> dict[str, str]:
    """The `Key: value` lines; whatever else is in it is left out."""
    pairs = (line.partition(":") for line in text.splitlines())
    return {plain(key, 40): plain(value, 60) for key, colon, value in pairs if colon and plain(key, 40)}


def _mounted(mounts: Path) -> Iterator[tuple[Path, str]]:
    """Folder and device of each mounted file system that may be a boot loader's."""
    try:
        lines = mounts.read_bytes().decode("utf-8", "surrogateescape").splitlines()
    except OSError:
        return
    for fields in (line.split(" ") for line in lines):
        # Of a bench's own drives its note tells, which says more of them.
        if len(fields) > 2 and fields[2].startswith(_FILE_SYSTEMS) and fields[0] != OF_A_BENCH:
            yield Path(_unescaped(fields[1])), _unescaped(fields[0])


def _unescaped(field: str) -> str:
    r"""What proc(5) writes as \040 and the like."""
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8) & 0xFF), field)


def _usb_device(device: str, sysfs: Path) -> str:
    """Where the drive's USB device is plugged in (`1-1.2`); "" where that can not be told."""
    if not device.startswith("/dev/"):
        return ""
    path = os.path.realpath(sysfs / "class" / "block" / Path(device).name)
    found = re.findall(r"/(\d+-\d+(?:\.\d+)*)(?=/)", path)
    return found[-1] if found else ""
