"""Who looks for boards: the built-in providers, and those of third parties.

A third party adds one with an entry point in the group `batch_flash.discovery`: a callable that takes `Places` and
gives `Sighting`s. What it raises is told in a line, and stops no other provider.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

from harness.discovery import bench_notes, boot_drives, mdns, serial_ports, usb_loaders
from harness.discovery.serial_ports import PortLister, list_ports
from harness.discovery.sighting import Sighting, plain

ENTRY_POINT_GROUP = "batch_flash.discovery"

Tell = Callable[[str], None]
"""Takes a line for the person who looks for boards."""


@dataclass(frozen=True)
class Places:
    """Where to look. The roots of a machine are given, so that a test can have a machine of its own."""

    drives: tuple[Path, ...] = ()
    """Folders that may be boot drives, beside those that are mounted."""
    bench: Path = Path(".bench")
    """The folder of `batch-flash bench`."""
    interfaces: tuple[str, ...] = ()
    """Addresses of this machine whose networks are listened to; all where left out."""
    network: bool = True
    listen_s: float = 3.0
    """Seconds that the network is listened to."""
    ports: PortLister = list_ports
    serial_links: Path = Path("/dev/serial")
    mounts: Path = Path("/proc/mounts")
    sysfs: Path = Path("/sys")
    usb_nodes: Path = Path("/dev/bus/usb")


Provider = Callable[[Places], Iterable[Sighting]]


def _serial(places: Places) -> Iterable[Sighting]:
    return serial_ports.sightings(places.ports, places.serial_links)


def _drives(places: Places) -> Iterable[Sighting]:
    return boot_drives.sightings(places.mounts, places.drives, places.sysfs)


def _usb(places: Places) -> Iterable[Sighting]:
    return usb_loaders.sightings(places.sysfs, places.usb_nodes)


def _network(places: Places) -> Iterable[Sighting]:
    return mdns.sightings(places.listen_s, places.interfaces) if places.network else ()


def _bench(places: Places) -> Iterable[Sighting]:
    return bench_notes.sightings(places.bench)


_BUILT_IN: Mapping[str, Provider] = {
    "serial": _serial,
    "usb": _usb,
    "drive": _drives,
    "bench": _bench,
    "mdns": _network,
}


def look(places: Places, tell: Tell) -> list[Sighting]:
    """What all providers see; what one of them could not do is told."""
    seen: list[Sighting] = []
    for name, provider in _all(tell):
        try:
            seen += provider(places)
        except mdns.NoMulticast as error:
            tell(f"boards on the network were not looked for: {plain(str(error))} (--no-network leaves them out)")
        except Exception as error:  # noqa: BLE001  (a third party's may raise anything, and must not hide other boards)
            tell(f"discovery by {name!r} failed: {type(error).__name__}: {plain(str(error))}")
    return seen


def _all(tell: Tell) -> Iterator[tuple[str, Provider]]:
    yield from _BUILT_IN.items()
    for point in entry_points(group=ENTRY_POINT_GROUP):
        try:
            yield point.name, point.load()
        except Exception as error:  # noqa: BLE001  (as above: whatever importing it raises)
            tell(f"discovery by {point.name!r} can not be loaded: {type(error).__name__}: {plain(str(error))}")
