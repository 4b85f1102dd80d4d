"""What the `options` of a target say to its virtual board."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from drivers.base import DeviceError
from drivers.secrets import Secret
from drivers.virtual.errors import BenchError

_S = TypeVar("_S", bound=BaseModel)


class BoardSettings(BaseModel):
    """A family's board declares a subclass, which names the driver's own settings, too: nothing is taken unseen."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def parse(model: type[_S], options: Mapping[str, JsonValue], board_id: str) -> _S:
    """Raises BenchError that says what is wrong, without the values."""
    try:
        return model.model_validate(dict(options))
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise BenchError(f"{board_id}: options of the virtual board: {wrong}") from None


def known(secret: Secret | None, board_id: str) -> str:
    """What the board shares with who updates it; empty without one. Raises BenchError where it is not there."""
    if secret is None:
        return ""
    try:
        return secret.value()
    except DeviceError as error:
        raise BenchError(f"{board_id}: {error.message}") from error
