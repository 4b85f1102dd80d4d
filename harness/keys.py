"""Which keys the models take at a place of a file: for suggestions, units in messages, and the documentation."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from harness.fields import Unit
from harness.tree import Loc


def alternatives(annotation: Any) -> Iterator[Any]:
    """The members of a union, without `None` and `Annotated`'s wrapping; the type itself where it is no union."""
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        yield from alternatives(typing.get_args(annotation)[0])
    elif origin in (typing.Union, types.UnionType):
        for member in typing.get_args(annotation):
            yield from alternatives(member)
    elif annotation is not type(None):
        yield annotation


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that a value of this type may be."""
    for member in alternatives(annotation):
        if isinstance(member, type) and issubclass(member, BaseModel):
            yield member


def item_types(annotation: Any) -> Iterator[Any]:
    """What the lists and mappings among a type's alternatives hold."""
    for member in alternatives(annotation):
        arguments = typing.get_args(member)
        if typing.get_origin(member) is tuple:
            yield arguments[0]
        elif typing.get_origin(member) is dict:
            yield arguments[1]


def types_at(model: type[BaseModel], loc: Loc) -> tuple[Any, ...]:
    """The types that the models give to a place; a union's tag in `loc`, as Pydantic puts it there, is no step."""
    here: tuple[Any, ...] = (model,)
    for element in loc:
        here = tuple(inner for outer in here for inner in _into(outer, element)) or here
    return here


def _into(annotation: Any, element: str | int) -> Iterator[Any]:
    for inner in models_in(annotation):
        if element in inner.model_fields:
            yield annotation_of(inner.model_fields[str(element)])
    yield from item_types(annotation)


def annotation_of(field: FieldInfo) -> Any:
    """A field's type together with its metadata, which Pydantic takes off."""
    return Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation


def keys_at(model: type[BaseModel], loc: Loc) -> tuple[str, ...]:
    """The keys that may stand at a place."""
    found = [key for here in types_at(model, loc) for inner in models_in(here) for key in inner.model_fields]
    return tuple(dict.fromkeys(found))


def places_of(model: type[BaseModel], key: str, under: str = "") -> Iterator[str]:
    """The sections that take a key of this name: `connection_info`, `flash_settings.phase_timeouts`."""
    for name, field in model.model_fields.items():
        for inner in _models_within(field.annotation):
            path = f"{under}.{name}".removeprefix(".")
            if key in inner.model_fields:
                yield path
            yield from places_of(inner, key, path)


def _models_within(annotation: Any) -> Iterator[type[BaseModel]]:
    yield from models_in(annotation)
    for item in item_types(annotation):
        yield from models_in(item)


def unit_of(annotation: Any) -> str | None:
    """What a number of this type counts."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        units = [extra.name for extra in arguments[1:] if isinstance(extra, Unit)]
        return units[0] if units else unit_of(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return next((unit for unit in map(unit_of, arguments) if unit), None)
    return None
