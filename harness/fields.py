"""The kinds of values that the batch and site files are made of, with their units."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

NUMBER_PATTERN = r"^(0[xX][0-9a-fA-F]+|[0-9]+)$"
_MAC = re.compile(r"^[0-9a-f]{2}(?:([:-])[0-9a-f]{2}(?:\1[0-9a-f]{2}){4}|[0-9a-f]{10})$")


class Section(BaseModel):
    """A mapping of a user's file: its keys are checked, its values are never changed."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True)
class Unit:
    """What a number counts; for messages and the documentation."""

    name: str


def _number(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if not re.match(NUMBER_PATTERN, value):
        raise PydanticCustomError("number", "expected a number such as 65536 or 0x10000")
    return int(value, 16 if value[:2].lower() == "0x" else 10)


def _mac(value: str) -> str:
    found = _MAC.match(value.lower())
    if not found:
        raise PydanticCustomError("mac", "expected a MAC of six bytes such as 24:0a:c4:12:34:56")
    digits = re.sub("[:-]", "", value.lower())
    return ":".join(digits[i : i + 2] for i in range(0, 12, 2))


def _regex(value: str) -> str:
    try:
        re.compile(value)
    except (re.error, RecursionError, OverflowError) as error:
        raise PydanticCustomError("regex", "not a regular expression: {why}", {"why": str(error)}) from error
    return value


def _revision(value: str) -> str:
    if not re.match(r"^v?[0-9]+\.[0-9]+$", value):
        raise PydanticCustomError("revision", "expected a chip revision such as v3.1")
    return value if value.startswith("v") else f"v{value}"


_INT_OR_HEX = {"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": NUMBER_PATTERN}]}


def _port(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "":
        raise PydanticCustomError("port", "expected a port such as /dev/ttyUSB0, a URL, a number, or `virtual`")
    if isinstance(value, int) and not 0 < value <= _LAST_PORT:
        raise PydanticCustomError("port", "expected a port number from 1 to {last}", {"last": _LAST_PORT})
    return value


_LAST_PORT = 65535
PortNumber = Annotated[int, Field(gt=0, le=_LAST_PORT), Unit("port number")]
Port = Annotated[
    str | int,
    BeforeValidator(_port),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "minLength": 1}, {"type": "integer", "minimum": 1, "maximum": _LAST_PORT}]}
    ),
]

Address = Annotated[
    int, BeforeValidator(_number), Field(ge=0, le=0xFFFF_FFFF), Unit("address"), WithJsonSchema(_INT_OR_HEX)
]
ByteCount = Annotated[
    int, BeforeValidator(_number), Field(gt=0, le=0x1_0000_0000), Unit("bytes"), WithJsonSchema(_INT_OR_HEX)
]
Seconds = Annotated[float, Field(gt=0), Unit("seconds")]
Pause = Annotated[float, Field(ge=0), Unit("seconds")]
Percent = Annotated[float, Field(ge=0, le=100), Unit("percent")]
Baud = Annotated[int, Field(ge=300, le=12_000_000), Unit("baud")]
Mac = Annotated[str, AfterValidator(_mac)]
Regex = Annotated[str, AfterValidator(_regex)]
Revision = Annotated[str, AfterValidator(_revision)]
