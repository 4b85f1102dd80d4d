"""A YAML file becomes one of the models; every mistake becomes a problem in plain words, at its place.

Reading goes on after a mistake, without the value that is wrong, so that later checks find theirs in the same pass.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from harness.keys import keys_at, places_of, types_at, unit_of
from harness.not_yet import refusals
from harness.problems import BatchFileError, Problem, did_you_mean
from harness.tree import Loc, Source, prune, shortened
from harness.yaml_source import read_source

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Reading(Generic[M]):
    """What could be read. `model` lacks what the problems name; None where nothing is left to go on with."""

    source: Source | None
    model: M | None
    problems: tuple[Problem, ...] = ()


def read(path: Path, model: type[M]) -> Reading[M]:
    """Read a file; never raises for what is in it."""
    try:
        source = read_source(path)
    except BatchFileError as error:
        return Reading(None, None, error.problems)
    return interpret(source, model)


def interpret(source: Source, model: type[M]) -> Reading[M]:
    """A file's tree as the model, with everything that the table of refused keys and the model say against it."""
    refused = list(refusals(source))
    source = prune(source, [loc for loc, _problem in refused])
    incomplete = {loc[:-1] for loc, _problem in refused}
    mistakes = _mistakes(source, model)
    misspelt = {_meant_loc(source, model, mistake) for mistake in mistakes if mistake["type"] == "extra_forbidden"}
    problems = [problem for _loc, problem in refused]
    problems += [
        _problem(source, model, mistake)
        for mistake in mistakes
        if mistake["type"] != "missing" or not (mistake["loc"] in misspelt or mistake["loc"][:-1] in incomplete)
    ]
    return Reading(*_salvage(source, model), tuple(problems))


def _meant_loc(source: Source, model: type[BaseModel], unknown: ErrorDetails) -> Loc:
    """Where the key stands that an unknown one was meant to be."""
    *around, key = source.resolve(unknown["loc"])
    return (*around, did_you_mean(str(key), keys_at(model, tuple(around))) or "")


def _salvage(source: Source, model: type[M]) -> tuple[Source, M | None]:
    """What is left without the mistakes; where a key is missing, without what it is missing from."""
    while mistakes := _mistakes(source, model):
        wrong = {source.resolve(mistake["loc"]) for mistake in mistakes}
        if () in wrong:
            return source, None
        meant = {did_you_mean(str(loc[-1]), keys_at(model, loc[:-1])) for loc in wrong}
        source = prune(source, wrong).losing(key for key in meant if key)
    return source, _validated(source, model)


def _validated(source: Source, model: type[M]) -> M:
    # As JSON, since only there Pydantic is strict about numbers and yet takes a list for a tuple, a text for a path.
    return model.model_validate_json(json.dumps(source.root.plain()), strict=True)


def _mistakes(source: Source, model: type[BaseModel]) -> list[ErrorDetails]:
    try:
        _validated(source, model)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        return [detail for detail in details if not _follows(detail, details)]
    return []


def _follows(detail: ErrorDetails, details: Iterable[ErrorDetails]) -> bool:
    """Whether a list is only too short because of what is wrong with its items."""
    loc = detail["loc"]
    inside = (other for other in details if len(other["loc"]) > len(loc) and other["loc"][: len(loc)] == loc)
    return detail["type"] == "too_short" and any(inside)


def _problem(source: Source, model: type[BaseModel], detail: ErrorDetails) -> Problem:
    loc, kind = detail["loc"], detail["type"]
    if kind == "missing":
        return source.problem(source.resolve(loc), f"{str(loc[-1])!r} is missing")
    if kind == "extra_forbidden":
        return _unknown_key(source, model, loc)
    found = source.resolve((*loc, "fault") if kind == "union_tag_invalid" else loc)
    expected = _EXPECTED.get(kind, _as_pydantic_says)(detail, unit_of(_type_at(model, loc)))
    return source.problem(found, f"{expected}, got {_got(source, found)}", _hint(source, found, kind))


def _type_at(model: type[BaseModel], loc: Loc) -> Any:
    return next(iter(types_at(model, loc)), None)


def _unknown_key(source: Source, model: type[BaseModel], loc: Loc) -> Problem:
    found = source.resolve(loc)
    key, around = str(found[-1]), found[:-1]
    known = keys_at(model, around)
    return source.problem(around, f"unknown key {key!r}", _meant(model, key, known), at=source.key_position(found))


def _meant(model: type[BaseModel], key: str, known: Iterable[str]) -> str:
    close = did_you_mean(key, known)
    if close:
        return f"did you mean {close!r}?"
    elsewhere = sorted(places_of(model, key), key=len)
    if elsewhere:
        return f"it belongs under {elsewhere[0]!r}"
    if key in model.model_fields:
        return "it belongs at the top of the file"
    return f"known here: {', '.join(sorted(known))}"


def _got(source: Source, loc: Loc) -> str:
    node = source.node(loc)
    if isinstance(node.value, dict):
        return "keys and values"
    if isinstance(node.value, tuple):
        return "a list"
    return shortened(node.text) if isinstance(node.value, str) else node.text


def _hint(source: Source, loc: Loc, kind: str) -> str:
    """What to do about the commonest mistake: text that YAML reads as a number."""
    node = source.node(loc)
    if kind in ("string_type", "path_type") and isinstance(node.value, (int, float)):
        return f'put it in quotes: "{node.text}"'
    return ""


_NUMBER_OR_HEX = {
    "address": "expected an address such as 65536 or 0x10000",
    "bytes": "expected a size in bytes such as 4194304 or 0x400000",
}

Words = Callable[[ErrorDetails, str | None], str]


def _number(what: str) -> Words:
    def words(_detail: ErrorDetails, unit: str | None) -> str:
        if unit in _NUMBER_OR_HEX:
            return _NUMBER_OR_HEX[unit]
        return f"expected {what}{f' of {unit}' if unit else ''}"

    return words


def _bound(words: str, key: str) -> Words:
    def bounded(detail: ErrorDetails, unit: str | None) -> str:
        bound = detail.get("ctx", {}).get(key)
        suffix = f" {unit}" if unit and unit != "address" else ""
        return f"must be {words} {bound:g}{suffix}" if isinstance(bound, float) else f"must be {words} {bound}{suffix}"

    return bounded


def _fixed(words: str) -> Words:
    return lambda _detail, _unit: words


def _choice(detail: ErrorDetails, _unit: str | None) -> str:
    context = detail.get("ctx", {})
    return f"expected {context.get('expected', context.get('expected_tags'))}"


def _as_pydantic_says(detail: ErrorDetails, _unit: str | None) -> str:
    return detail["msg"]


_EXPECTED: Mapping[str, Words] = {
    "int_type": _number("a whole number"),
    "int_from_float": _number("a whole number"),
    "int_parsing_size": _number("a smaller whole number"),
    "float_type": _number("a number"),
    "number": lambda _detail, unit: _NUMBER_OR_HEX["bytes" if unit == "bytes" else "address"],
    "bool_type": _fixed("expected true or false"),
    "string_type": _fixed("expected text"),
    "path_type": _fixed("expected a path"),
    "tuple_type": _fixed("expected a list"),
    "dict_type": _fixed("expected keys and values"),
    "model_type": _fixed("expected keys and values"),
    "model_attributes_type": _fixed("expected keys and values"),
    "greater_than": _bound("more than", "gt"),
    "greater_than_equal": _bound("at least", "ge"),
    "less_than": _bound("less than", "lt"),
    "less_than_equal": _bound("at most", "le"),
    "enum": _choice,
    "literal_error": _choice,
    "union_tag_invalid": _choice,
    "union_tag_not_found": _fixed("expected a `fault:` that says which one"),
    "too_short": _fixed("expected at least one"),
    "string_too_short": _fixed("expected some text"),
    "string_too_long": _bound("at most this many characters:", "max_length"),
    "string_pattern_mismatch": _fixed("expected letters, digits, '.', '_' and '-', a letter or digit first"),
}
