"""Which boards are there: an inventory made by providers, and on request the boards' own answers.

`discover` is for commands and services alike; it prints nothing. Merging what the providers say is pure (`boards`), the
providers and probes are the I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from drivers import device_types, load_driver
from drivers.base import Interface, PortUnavailable, UnknownDeviceType
from harness.discovery import boards, probe
from harness.discovery.boards import Board
from harness.discovery.boot_drives import INFO_FILE
from harness.discovery.providers import Places, Tell, look
from harness.discovery.sighting import Connection, Found, Sighting, Status, Way
from harness.locks import PortLock

__all__ = ["Connection", "Found", "Places", "Probe", "Sighting", "Status", "Way", "discover"]

KnownIds = Callable[[Iterable[str]], Mapping[str, str]]
"""From serial numbers and MACs to the device ids that they are known by."""


@dataclass(frozen=True)
class Probe:
    """Have each board asked who it is. `seconds` is the limit of each protocol that is tried on a port."""

    seconds: float = 10.0


def _nobody(_serials: Iterable[str]) -> Mapping[str, str]:
    return {}


def _quiet(_line: str) -> None: ...


def discover(
    device_type: str | None = None,
    *,
    places: Places = Places(),  # noqa: B008  (frozen)
    asking: Probe | None = None,
    known_ids: KnownIds = _nobody,
    tell: Tell = _quiet,
    lock_dir: Path | None = None,
) -> list[Found]:
    """The boards that are there, or those only that are, or may be, of one device type.

    With `asking`, each is asked who it is: reads only, but a board on a serial line is reset. One that a run holds is
    left alone. `tell` gets a line for each thing that could not be done. Raises `UnknownDeviceType`.
    """
    types = device_types()
    if device_type is not None and device_type not in types:
        raise UnknownDeviceType(device_type, types)

    def wanted(all_boards: Iterable[Board]) -> list[Board]:
        return [board for one in all_boards if (board := boards.narrowed(one, types, device_type))]

    seen = wanted(boards.group(_checked(sighting, lock_dir) for sighting in look(places, tell)))
    if asking:
        seen = wanted(
            boards.group(sighting for board in _asked(seen, asking, device_type, lock_dir) for sighting in board)
        )
    found = [boards.fold(board, device_type) for board in seen]
    return boards.name_all(found, known_ids({board.serial for board in found if board.serial}))


def _checked(sighting: Sighting, lock_dir: Path | None) -> Sighting:
    """In use, where somebody holds one of the places by which runs lock it. Nothing is sent to it."""
    for place in dict.fromkeys(filter(None, (sighting.connection.place, *sighting.locks))):
        try:
            with PortLock(place, "discover", "a look", lock_dir) as lock:
                lock.acquire(0)
        except PortUnavailable as error:
            remark = error.message.partition("; waited")[0]
            return replace(sighting, status=Status.IN_USE, remarks=(*sighting.remarks, remark))
        except (ValueError, OSError):  # what looks like a URL and is none; a folder of locks that is not ours
            continue
    return sighting


def _asked(seen: Sequence[Board], asking: Probe, device_type: str | None, lock_dir: Path | None) -> list[Board]:
    to_ask = [board for board in seen if _may_be_asked(board, device_type)]
    answers = iter(probe.ask(to_ask, asking.seconds, lock_dir))
    return [next(answers) if board in to_ask else board for board in seen]


def _may_be_asked(board: Board, device_type: str | None) -> bool:
    first = board[0]
    return (
        all(sighting.status is not Status.IN_USE for sighting in board)
        and first.status is Status.AVAILABLE
        and bool(first.types)
        and (device_type is not None or not first.ask_only_if_named)
        and _can_be_reached(first)
    )


def _can_be_reached(sighting: Sighting) -> bool:
    """A board on USB while it is in its boot loader, where a probe can leave it as it was."""
    try:
        interface = load_driver(sighting.types[0]).interface
    except ImportError:  # the probe's own process will tell
        return True
    if interface is not Interface.USB:
        return True
    folder = sighting.connection.mount_point
    return (Path(folder) / INFO_FILE).exists() if folder else bool(sighting.connection.usb)
