"""Keys of the files' documented form that nothing honours yet: refused by name, never silently ignored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from harness.problems import Problem
from harness.tree import Loc, Source

ANY = "*"
"""Stands for any key or list position in a path."""

_LEAVE_OUT = "remove the key"


@dataclass(frozen=True)
class NotYet:
    """`path` is refused, whatever it says, or only where it says `value`."""

    path: tuple[str, ...]
    why: str
    hint: str = _LEAVE_OUT
    value: object = None


_HTTP = "the web service is not built yet"

TABLE: tuple[NotYet, ...] = (
    NotYet(("security",), f"{_HTTP}, and firmware is not scanned yet"),
    *(
        NotYet(("performance", key), "tuning is not built; what limits a run is flash_settings.max_concurrent")
        for key in (
            "max_concurrent",
            "worker_thread_pool_size",
            "connection_pooling",
            "parallel_verification",
            "enable_caching",
            "cache_timeout",
            "enable_compression",
            "optimize_for_ssd",
        )
    ),
    NotYet(("notifications",), "notifications are not built yet"),
    NotYet(("logging", "detailed_logging"), "there is one form of log", "use log_level: DEBUG"),
    NotYet(("logging", "verbose_output"), "there is one form of output", "use pytest's -v"),
    NotYet(("firmware_validation", "validate_signature"), "signatures are not checked yet", value=True),
    NotYet(
        ("firmware_validation", "verify_checksum"), "checksums are always verified", f"{_LEAVE_OUT}, or true", False
    ),
)


def refusals(source: Source) -> Iterator[tuple[Loc, Problem]]:
    """Every place of the file that the table refuses; a section is refused key by key."""
    for entry in TABLE:
        for loc in _places(source, entry.path):
            if entry.value is None or source.node(loc).value == entry.value:
                for leaf in _keys_below(source, loc):
                    yield loc, source.problem(leaf, entry.why, entry.hint, at=source.key_position(leaf))


def _places(source: Source, path: tuple[str, ...], done: Loc = ()) -> Iterator[Loc]:
    if not path:
        yield done
        return
    for element in source.children(done):
        if path[0] in (ANY, element):
            yield from _places(source, path[1:], (*done, element))


def _keys_below(source: Source, loc: Loc) -> tuple[Loc, ...]:
    """The keys of a section (each is named in its own message); the place itself where it is none, or empty."""
    return tuple((*loc, key) for key in source.children(loc) if isinstance(key, str)) or (loc,)
