"""What is seen of boards: one sighting per provider and way to reach a board, and what they come to.

provider ── Sighting ─┐
provider ── Sighting ─┼─ boards.group ── the board's own answer (probe), another Sighting ── boards.fold ── Found
provider ── Sighting ─┘
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from drivers.base import Identity, Interface
from drivers.net import Address

_MAC = re.compile(r"(?:[0-9a-f]{2}[:-]?){5}[0-9a-f]{2}", re.IGNORECASE)


class Status(StrEnum):
    """Whether a board could be worked on now."""

    AVAILABLE = "available"
    IN_USE = "in-use"
    """A run, or another program, has its port."""
    NO_PERMISSION = "no-permission"
    NO_ANSWER = "no-answer"
    """It was asked who it is, and said nothing that a driver understands."""


@dataclass(frozen=True)
class Connection:
    """One way to reach a board, by the names that a batch's `connection_info` has."""

    port: str = ""
    host: str = ""
    host_port: int | None = None  # None: the device type's usual one
    mount_point: str = ""
    usb: str = ""
    flash_baudrate: int | None = None  # where its boot loader has another rate than its device type's

    @property
    def info(self) -> dict[str, str | int]:
        """What stands under `connection_info`."""
        if self.host:
            return {"host": self.host, **({"port": self.host_port} if self.host_port else {})}
        named = {
            "mount_point": self.mount_point,
            "usb": self.usb,
            "port": self.port,
            "flash_baudrate": self.flash_baudrate,
        }
        return {key: value for key, value in named.items() if value}

    @property
    def interface(self) -> Interface:
        """Which families are reached so."""
        if self.host:
            return Interface.NETWORK
        return Interface.USB if self.mount_point or self.usb else Interface.SERIAL

    @property
    def link_port(self) -> str:
        """What `drivers.base.Link.port` takes."""
        return Address(self.host, self.host_port).url if self.host and self.host_port else self.port

    @property
    def place(self) -> str:
        """What a lock is named after, as a run's plan has it."""
        return self.mount_point or (f"usb://{self.usb}" if self.usb else self.link_port)

    def __str__(self) -> str:
        if self.host:
            return str(Address(self.host, self.host_port)) if self.host_port else self.host
        return self.mount_point or self.usb or self.port


@dataclass(frozen=True)
class Sighting:
    """What one provider saw at one place.

    `keys` name the physical thing: sightings that share a key are of one board. Give only what no two boards share.
    `types` are the device types that it may be, the likeliest first; with `certain` the first is the one.
    """

    source: str
    keys: frozenset[str]
    connection: Connection = Connection()
    types: tuple[str, ...] = ()
    certain: bool = False
    name: str = ""
    chip: str = ""
    """Where its device type has several, as a batch's `expected.chip` names it."""
    serial: str = ""
    """The board's own serial number or MAC, "" where nobody told."""
    device_id: str = ""
    """What its owner calls it."""
    status: Status = Status.AVAILABLE
    identity: Identity | None = None
    """Where the chip itself has been asked."""
    remarks: tuple[str, ...] = ()
    locks: tuple[str, ...] = ()
    """Further names of its place: no run may hold any of them when it is probed."""
    ask_only_if_named: bool = False
    """Probed only for a user who names its device type: it is most likely no board at all."""
    realm: str = ""
    """Where serial numbers are unique: those of virtual boards are only on their own bench."""


@dataclass(frozen=True)
class Way:
    """How a board can be reached, and what drives it there."""

    device_type: str
    connection: Connection


@dataclass(frozen=True)
class Found:
    """One board, or what may be one. `device_type` is "" where nobody knows; `candidates` then says what it may be."""

    device_id: str
    device_type: str
    certain: bool
    """The board's USB id, its service, its bench or the chip itself says which type it is."""
    candidates: tuple[str, ...]
    connection: Connection
    status: Status
    name: str = ""
    chip: str = ""
    serial: str = ""
    identity: Identity | None = None
    others: tuple[Way, ...] = ()
    """Further ways to the same board."""
    sources: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def plain(text: str, limit: int = 120) -> str:
    """Text from a device as one line of printable characters: it goes to terminals and into comments."""
    line = "".join(char if char.isprintable() else " " for char in text[: 4 * limit])
    return " ".join(line.split())[:limit]


def mac_of(text: str) -> str:
    """A MAC address as batches write it, "" where the text is none."""
    if not _MAC.fullmatch(text):
        return ""
    digits = re.sub("[:-]", "", text.lower())
    return ":".join(digits[at : at + 2] for at in range(0, 12, 2))


def identity_key(serial: str, realm: str = "") -> str:
    """The key of a board that a serial number or MAC names, however it is written."""
    return f"id:{realm}:{re.sub('[:-]', '', serial).lower()}"
