"""The files' form for editors (JSON Schema) and for people (tables of keys), both made from the models."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from harness.batch import Batch
from harness.config import Site
from harness.keys import alternatives, annotation_of, item_types, models_in, unit_of

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def batch_schema() -> dict[str, Any]:
    """The JSON Schema of a batch file."""
    return _schema(Batch, "A batch: which boards get which firmware")


def site_schema() -> dict[str, Any]:
    """The JSON Schema of the site file."""
    return _schema(Site, "A lab's settings for all of its batches")


def _schema(model: type[BaseModel], title: str) -> dict[str, Any]:
    return {"$schema": DIALECT, **_as_written(model.model_json_schema()), "title": title}


def _as_written(schema: Any) -> Any:
    """Without what only Python sees: None (a key is left out instead), generated titles, empty defaults."""
    if isinstance(schema, list):
        return [_as_written(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: _as_written(value) for key, value in schema.items() if not _only_python(key, value)}
    options = [option for option in kept.get("anyOf", []) if option != {"type": "null"}]
    if len(options) != 1:
        return kept
    return {**options[0], **{key: value for key, value in kept.items() if key != "anyOf"}}


def _only_python(key: str, value: Any) -> bool:
    return (key == "title" and isinstance(value, str)) or (key == "default" and (value is None or value in ({}, [])))


def tables(model: type[BaseModel]) -> str:
    """Markdown: a table of keys for the file, and one for each of its sections."""
    return "\n".join(_lines(model, "", set()))


def _lines(model: type[BaseModel], path: str, seen: set[type[BaseModel]]) -> Iterator[str]:
    seen.add(model)
    yield f"### {f'`{path}`' if path else 'At the top of the file'}{_variant(model)}"
    yield ""
    if vars(model).get("__doc__"):
        yield from (" ".join(str(model.__doc__).split()), "")
    yield "| key | value | default | meaning |"
    yield "|---|---|---|---|"
    for name, field in sorted(model.model_fields.items(), key=lambda item: not item[1].is_required()):
        yield f"| `{name}` | {kind_of(annotation_of(field))} | {_default(field)} | {_meaning(field)} |"
    yield ""
    for name, field in model.model_fields.items():
        yield from _sections(field, f"{path}.{name}".removeprefix("."), seen)


def _sections(field: FieldInfo, path: str, seen: set[type[BaseModel]]) -> Iterator[str]:
    for inner in models_in(field.annotation):
        if inner not in seen:
            yield from _lines(inner, path, seen)
    for item in item_types(field.annotation):
        for inner in models_in(item):
            if inner not in seen:
                is_list = any(typing.get_origin(member) is tuple for member in alternatives(field.annotation))
                yield from _lines(inner, f"{path}[…]" if is_list else f"{path}.<name>", seen)


def _variant(model: type[BaseModel]) -> str:
    """Which of the forms that a section may take this is: a fault's name."""
    field = model.model_fields.get("fault")
    return f" with `fault: {typing.get_args(field.annotation)[0]}`" if field else ""


def kind_of(annotation: Any) -> str:
    """What a value of this type is, in a word or two."""
    unit = unit_of(annotation)
    if unit:
        return unit
    words = list(dict.fromkeys(_kind(member) for member in alternatives(annotation)))
    return " or ".join(words)


def _kind(member: Any) -> str:
    if typing.get_origin(member) is tuple:
        return f"list of {kind_of(typing.get_args(member)[0])}"
    if typing.get_origin(member) is dict:
        return "section for each name" if list(models_in(typing.get_args(member)[1])) else "keys and values"
    if typing.get_origin(member) is Literal:
        return ", ".join(f"`{str(value).lower()}`" for value in typing.get_args(member))
    if isinstance(member, type) and issubclass(member, Enum):
        return ", ".join(f"`{choice.value}`" for choice in member)
    if isinstance(member, type) and issubclass(member, BaseModel):
        return "section"
    return _WORDS[member]


_WORDS: Mapping[Any, str] = {bool: "true or false", int: "whole number", float: "number", str: "text", Path: "path"}


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = field.default
    if value is None or value in ({}, ()) or isinstance(value, BaseModel):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`" if value != "" else ""


def _meaning(field: FieldInfo) -> str:
    return (field.description or "").replace("|", "\\|")
