"""Names of serial ports that stay: udev's links in /dev/serial, as far as they can be trusted.

Ports renumber. A link by id is the best name, but boards with the same USB serial number share one (CP2102 leave the
factory as 0001, CH340 have none: espressif/esptool#1026), and it then leads to whichever came last: those are named by
the socket that they are plugged into.
"""

from __future__ import annotations

from pathlib import Path

_FACTORY_SERIALS = frozenset({"", "0", "0001", "00000000", "12345678", "0123456789abcdef"})


def is_own_serial(serial: str | None) -> bool:
    """Whether a USB serial number can be one that no other board has."""
    return (serial or "").strip().lower() not in _FACTORY_SERIALS


def stable_name(device: str, *, trust_id: bool, links: Path) -> str:
    """The best link to a port in `links` (/dev/serial), its device file without one."""
    folders = ("by-id", "by-path") if trust_id else ("by-path",)
    for folder in folders:
        names = sorted(str(link) for link in _links(links / folder) if link.resolve() == Path(device).resolve())
        if names:
            return names[0]  # newer udev has two by path, of which the plain one sorts first
    return device


def _links(folder: Path) -> list[Path]:
    try:
        return [link for link in folder.iterdir() if link.is_symlink()]
    except OSError:  # no udev: a container, or no serial port at all
        return []
