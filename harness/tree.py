"""A file's values with the places where they stand: what the models check, and what messages point at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.problems import Problem

Loc = tuple[str | int, ...]
"""Where a value is: keys and list positions from the root on, as Pydantic's errors say it."""


@dataclass(frozen=True)
class Position:
    """Counted from 1."""

    line: int
    column: int


@dataclass(frozen=True)
class Node:
    """A value of the file. `text` is a scalar as it was written."""

    at: Position
    value: str | int | float | bool | tuple[Node, ...] | dict[str, Entry]
    text: str = ""

    def child(self, element: str | int) -> Node | None:
        if isinstance(self.value, dict) and element in self.value:
            return self.value[str(element)].node
        if isinstance(self.value, tuple) and isinstance(element, int) and element < len(self.value):
            return self.value[element]
        return None

    def plain(self) -> Any:
        if isinstance(self.value, dict):
            return {key: entry.node.plain() for key, entry in self.value.items()}
        if isinstance(self.value, tuple):
            return [node.plain() for node in self.value]
        return self.value

    def without(self, loc: Loc) -> Node:
        """This tree without the value at `loc`."""
        head, rest = loc[0], loc[1:]
        if isinstance(self.value, tuple):
            kept = [node.without(rest) if i == head else node for i, node in enumerate(self.value) if rest or i != head]
            return replace(self, value=tuple(kept))
        if isinstance(self.value, dict):
            entries = {key: entry for key, entry in self.value.items() if rest or key != head}
            if rest and isinstance(head, str):
                entries[head] = replace(entries[head], node=entries[head].node.without(rest))
            return replace(self, value=entries)
        return self


@dataclass(frozen=True)
class Entry:
    """A key of a mapping, and its value."""

    key_at: Position
    node: Node


@dataclass(frozen=True)
class Source:
    """A file's tree. `lost` names keys whose values were unusable: nobody should also say that they are missing."""

    path: Path
    root: Node
    lost: frozenset[str] = field(default=frozenset())

    def resolve(self, loc: Loc) -> Loc:
        """The part of `loc` that exists in the file: Pydantic also names union members and keys that are missing."""
        node, found = self.root, []
        for element in loc:
            child = node.child(element)
            if child is not None:
                node = child
                found.append(element)
        return tuple(found)

    def node(self, loc: Loc) -> Node:
        """The value at `loc`, or the nearest one around it."""
        node = self.root
        for element in self.resolve(loc):
            node = node.child(element) or node
        return node

    def children(self, loc: Loc) -> tuple[str | int, ...]:
        """The keys or list positions at `loc`; none where there is a scalar or nothing."""
        value = self.node(loc).value if self.resolve(loc) == loc else None
        if isinstance(value, dict):
            return tuple(value)
        return tuple(range(len(value))) if isinstance(value, tuple) else ()

    def key_position(self, loc: Loc) -> Position:
        """Where the key of `loc` stands; for what has no key (a list's item), where the value begins."""
        parent = self.node(loc[:-1])
        if loc and isinstance(parent.value, dict) and loc[-1] in parent.value:
            return parent.value[str(loc[-1])].key_at
        return self.node(loc).at

    def without(self, loc: Loc) -> Source:
        names = (element for element in loc[-1:] if isinstance(element, str))
        return replace(self, root=self.root.without(loc)).losing(names)

    def losing(self, keys: Iterable[str]) -> Source:
        return replace(self, lost=self.lost | frozenset(keys))

    def problem(self, loc: Loc, message: str, hint: str = "", *, at: Position | None = None) -> Problem:
        """A problem with the value at `loc`, or `at` another position; `place` is filled in."""
        at = at or self.node(loc).at
        return Problem(self.path, at.line, at.column, message, hint, self.describe(loc))

    def describe(self, loc: Loc) -> str:
        """`ESP32_001: connection_info.port`: a target is called by its id, a list's item by its place from 1."""
        if loc[:1] != ("targets",) or len(loc) < 2 or not isinstance(loc[1], int):
            return dotted(loc)
        device_id = self.node((*loc[:2], "device_id")).value
        target = device_id if isinstance(device_id, str) else f"target {loc[1] + 1}"
        return f"{target}: {dotted(loc[2:])}" if loc[2:] else target


def dotted(loc: Loc) -> str:
    """`flash_settings.timeout`, `images[1].address`."""
    return "".join(f"[{e + 1}]" if isinstance(e, int) else f".{e}" for e in loc).removeprefix(".")


def prune(source: Source, locs: Iterable[Loc]) -> Source:
    """The source without these places; from the last to the first, so that a list's positions stay what they were."""
    for loc in sorted(set(locs), key=_place_in_file, reverse=True):
        if source.resolve(loc) == loc:
            source = source.without(loc)
    return source


def _place_in_file(loc: Loc) -> tuple[tuple[int, int, str], ...]:
    return tuple((1, e, "") if isinstance(e, int) else (0, 0, e) for e in loc)


def shortened(text: str, limit: int = 60) -> str:
    """In quotes, and not longer than a line can take."""
    return repr(text if len(text) <= limit else f"{text[: limit - 1]}…")
