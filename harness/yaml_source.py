"""Reads YAML into a tree that remembers where everything stands.

YAML's traps for this use are closed here, each with a message of its own: duplicate keys, values that are missing,
text that YAML 1.1 takes for something else (a MAC of digits only is a base-60 number there; `no` is false), aliases
that refer to themselves or blow up.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import ComposerError

from harness.problems import BatchFileError, Problem
from harness.tree import Entry, Node, Position, Source, shortened

MAX_DEPTH = 40
MAX_VALUES = 500_000
"""Values after aliases are expanded; far above any fleet, far below what a YAML bomb expands to."""


def read_source(path: Path) -> Source:
    """The tree of a YAML file. Raises `BatchFileError` with everything that is wrong with it as YAML."""
    return parse(path, _read_text(path))


def parse(path: Path, text: str) -> Source:
    """The tree of a YAML text that stands in `path`; raises as `read_source` does."""
    builder = _Builder(path)
    document = _compose(path, text)
    if document is None:
        raise BatchFileError([Problem(path, 1, 1, "the file is empty")])
    root = builder.build(document)
    if not isinstance(root.value, dict):
        builder.report(document, "expected keys and values such as `name: …`")
    if builder.problems:
        raise BatchFileError(builder.problems)
    return Source(path, root)


def _read_text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise BatchFileError([Problem(path, 0, 0, f"can not be read: {why}")]) from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        at = _position_in(data[: error.start].decode("utf-8", "replace"))
        message = f"the file is not UTF-8 text (byte {data[error.start]:#04x}); save it as UTF-8"
        raise BatchFileError([Problem(path, at.line, at.column, message)]) from error


def _position_in(before: str) -> Position:
    return Position(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)


class _Loader(yaml.SafeLoader):
    """Composes only, by YAML 1.2's core schema: numbers, true and false, and nothing else that looks like text."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 — PyYAML's own shape
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ComposerError(None, None, "nested too deeply", self.get_mark())
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


_NULL, _BOOL, _INT, _FLOAT, _STR, _MERGE = (
    f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "merge")
)
_SEQ, _MAP = "tag:yaml.org,2002:seq", "tag:yaml.org,2002:map"
_NUMBER_STARTS = list("-+.0123456789")
_Loader.add_implicit_resolver(_NULL, re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver(_BOOL, re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))
_Loader.add_implicit_resolver(_INT, re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$"), _NUMBER_STARTS)
_Loader.add_implicit_resolver(
    _FLOAT, re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$"), _NUMBER_STARTS
)
_Loader.add_implicit_resolver(_MERGE, re.compile(r"^<<$"), ["<"])


def _compose(path: Path, text: str) -> yaml.Node | None:
    loader: _Loader | None = None
    try:
        loader = _Loader(text)
        return loader.get_single_node()
    except yaml.reader.ReaderError as error:
        at = _position_in(text[: error.position])
        message = f"a character that YAML does not allow ({_code(error.character)})"
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = Position(mark.line + 1, mark.column + 1) if mark else Position(1, 1)
        message = _in_plain_words(error)
    except (ValueError, OverflowError) as error:  # PyYAML converts some escapes and numbers unchecked
        at = _position_of(loader)
        message = f"not YAML: {error}"
    raise BatchFileError([Problem(path, at.line, at.column, message)])


def _position_of(loader: _Loader | None) -> Position:
    mark = loader.get_mark() if loader else None
    return Position(mark.line + 1, mark.column + 1) if mark else Position(1, 1)


def _code(character: Any) -> str:
    return f"U+{character if isinstance(character, int) else ord(character):04X}"


_PLAIN_WORDS = (
    (r"found character '\\t'", "a tab can not indent YAML; use spaces"),
    (r"mapping values are not allowed", "unexpected ':'; check the indentation, or put the value in quotes"),
    (r"expected <block end>", "this does not line up with the lines above; check the indentation"),
    (r"expected '<document start>'", "nothing may follow the value above; check the indentation"),
    (r"could not find expected ':'", "a key without ':'"),
    (r"but found another document", "a second document begins here; a file holds one"),
)


def _in_plain_words(error: yaml.MarkedYAMLError) -> str:
    said = error.problem or error.context or "can not be parsed"
    for pattern, words in _PLAIN_WORDS:
        if re.search(pattern, said):
            return f"not YAML: {words}"
    return f"not YAML: {said}"


class _Builder:
    """Turns PyYAML's nodes into ours, collecting what is wrong with them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[Problem] = []
        self._left = MAX_VALUES
        self._open: set[int] = set()

    def report(self, node: yaml.Node, message: str, hint: str = "") -> None:
        at = _start(node)
        self.problems.append(Problem(self.path, at.line, at.column, message, hint))

    def build(self, node: yaml.Node) -> Node:
        self._left -= 1
        if self._left < 0:
            raise BatchFileError([*self.problems, self._too_large(node)])
        if id(node) in self._open:
            self.report(node, "this value contains itself (an alias to what it stands in)")
            return Node(_start(node), "")
        self._open.add(id(node))
        try:
            return self._build(node)
        finally:
            self._open.discard(id(node))

    def _too_large(self, node: yaml.Node) -> Problem:
        at = _start(node)
        return Problem(self.path, at.line, at.column, f"more than {MAX_VALUES} values once aliases are expanded")

    def _build(self, node: yaml.Node) -> Node:
        if isinstance(node, yaml.MappingNode) and node.tag == _MAP:
            return Node(_start(node), self._mapping(node))
        if isinstance(node, yaml.SequenceNode) and node.tag == _SEQ:
            return Node(_start(node), tuple(self.build(item) for item in node.value))
        if isinstance(node, yaml.ScalarNode) and node.tag in _SCALARS:
            return self._scalar(node)
        self.report(node, f"the tag {node.tag} has no meaning here")
        return Node(_start(node), "")

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Entry]:
        own: dict[str, Entry] = {}
        merged: dict[str, Entry] = {}
        for key, value in node.value:
            if key.tag == _MERGE:
                for name, entry in self._merged(value):
                    merged.setdefault(name, entry)
            elif not isinstance(key, yaml.ScalarNode):
                self.report(key, "a key must be plain text")
            elif key.value in own:
                first = own[key.value].key_at
                self.report(key, f"the key {key.value!r} stands here a second time", f"first on line {first.line}")
            else:
                own[self._scalar_text(key)] = Entry(_start(key), self.build(value))
        return {**merged, **own}

    def _merged(self, node: yaml.Node) -> Iterator[tuple[str, Entry]]:
        """`<<: *one` and `<<: [*one, *two]`: the earlier wins, and a mapping's own keys win over both."""
        parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for part in parts:
            built = self.build(part)
            if isinstance(built.value, dict):
                yield from built.value.items()
            else:
                self.report(part, "`<<` takes a mapping in, and this is none")

    def _scalar(self, node: yaml.ScalarNode) -> Node:
        text = self._scalar_text(node)
        if node.tag == _NULL:
            self.report(node, "a key or list item without a value", "give it one, or remove it")
            return Node(_start(node), "", text)
        try:
            return Node(_start(node), _SCALARS[node.tag](text), text)
        except (ValueError, KeyError):
            self.report(node, f"not a usable {node.tag.rpartition(':')[2]}: {shortened(text)}")
            return Node(_start(node), "", text)

    def _scalar_text(self, node: yaml.ScalarNode) -> str:
        text = str(node.value)
        if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
            self.report(node, "a character that is no text (NUL or half of a surrogate pair)")
            return ""
        return text


def _start(node: yaml.Node) -> Position:
    return Position(node.start_mark.line + 1, node.start_mark.column + 1)


def _integer(text: str) -> int:
    bases = {"0x": 16, "0o": 8}
    return int(text, bases.get(text[:2].lower(), 10))


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


_SCALARS: dict[str, Callable[[str], str | int | float | bool]] = {
    _NULL: str,
    _STR: str,
    _INT: _integer,
    _FLOAT: _finite,
    _BOOL: lambda text: {"true": True, "false": False}[text.lower()],
}
