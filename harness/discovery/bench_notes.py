"""What a bench that was started by hand offers: a note in its folder, for the provider to find.

The note is a locked file for as long as its bench lives: the kernel unlocks it when that dies, however it dies, and a
note that anybody can lock is one of a dead bench. Its name has the bench's process id, since several benches may share
a folder.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from drivers import device_types, load_driver
from drivers.base import Identity
from drivers.virtual.messages import BoardPorts
from drivers.virtual.station import relatives
from harness.discovery.sighting import Connection, Sighting

_NOTES = "bench-*.json"


@dataclass(frozen=True)
class Offer:
    """A board on a bench. `device_type` is "" where nobody said."""

    device_type: str
    chip: str
    ports: BoardPorts


@contextmanager
def left(state: Path, boards: Mapping[str, Offer]) -> Iterator[None]:
    """Leave a note about these boards, by their ids, and take it away at the end. Raises `OSError`."""
    for note in state.glob(_NOTES):
        if not _is_alive(note):
            note.unlink(missing_ok=True)
    note = state / f"bench-{os.getpid()}.json"
    unfinished = note.with_suffix(".tmp")
    with unfinished.open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(json.dumps({board_id: _as_json(offer) for board_id, offer in boards.items()}, indent=1))
        file.flush()
        unfinished.rename(note)  # whole, and locked already: the lock is the file's, not the name's
        try:
            yield
        finally:
            note.unlink(missing_ok=True)


def sightings(state: Path) -> Iterator[Sighting]:
    """The boards of the benches that live in this folder."""
    for note in sorted(state.glob(_NOTES)):
        if _is_alive(note):
            for board_id, offer in _read(note).items():
                yield _sighting(note, board_id, offer)


def _is_alive(note: Path) -> bool:
    try:
        with note.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # taken away meanwhile
        return False
    return False


def _as_json(offer: Offer) -> dict[str, object]:
    ports = offer.ports.model_dump()
    if ports["mount_point"]:
        ports["mount_point"] = str(Path(ports["mount_point"]).absolute())  # the reader may be in another folder
    return {"device_type": offer.device_type, "chip": offer.chip, "ports": ports}


def _read(note: Path) -> dict[str, Offer]:
    """Nothing of what a bench of another version may have written."""
    try:
        told = json.loads(note.read_bytes())
        return {
            str(board_id): Offer(offer["device_type"], offer["chip"], BoardPorts(**offer["ports"]))
            for board_id, offer in told.items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _sighting(note: Path, board_id: str, offer: Offer) -> Sighting:
    ports = offer.ports
    host, _, port = ports.host.rpartition(":")
    connection = Connection(
        port="" if ports.host else ports.url or ports.pty,
        host=host.strip("[]"),
        host_port=int(port) if port.isdecimal() else None,
        mount_point=ports.mount_point,
        usb=ports.usb,
    )
    types = (offer.device_type,) if offer.device_type else _types_of(offer.chip, connection)
    places = (ports.url, ports.pty, ports.host, ports.mount_point, ports.usb)
    return Sighting(
        source="bench",
        keys=frozenset({f"bench:{note}:{board_id}", *(f"port:{place}" for place in places if place)}),
        connection=connection,
        types=types,
        certain=len(types) == 1,
        name=f"virtual {offer.chip}",
        chip=offer.chip,
        device_id=board_id,
        locks=tuple(filter(None, (ports.url, ports.pty, ports.mount_point))),
        realm=str(note),
    )


def _types_of(chip: str, connection: Connection) -> tuple[str, ...]:
    """The device types that boards with this chip may have, where they are connected so."""
    if chip in device_types():
        return (chip,)
    types = [name for name in relatives(chip) if name in device_types()]
    drivers = [load_driver(name) for name in types if load_driver(name).interface is connection.interface]
    identity = Identity(chip, revision="", serial="", flash_size=0)
    matching = [driver for driver in drivers if driver.matches(driver.device_type, identity)]
    return tuple(driver.device_type for driver in matching or drivers)
