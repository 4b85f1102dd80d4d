"""What a bench and its owner say to each other: one line of JSON per message, over the bench's stdin and stdout."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from drivers.virtual.spec import Fault


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BoardPorts(_Message):
    """Where one board is reached."""

    pty: str
    url: str


class Answer(_Message):
    """The bench's answer to the spec (`boards` is filled) and to each order; `error` when it could not."""

    error: str | None = None
    boards: dict[str, BoardPorts] = Field(default_factory=dict)


class PowerOrder(_Message):
    """Connect or cut a board's supply."""

    order: Literal["power"] = "power"
    board_id: str
    on: bool


class EndOrder(_Message):
    """The bench is not needed any more; no answer. Without it, the end of stdin means that the owner has died."""

    order: Literal["end"] = "end"


class FaultsOrder(_Message):
    """Replace a board's faults."""

    order: Literal["faults"] = "faults"
    board_id: str
    faults: tuple[Fault, ...]


Order = Annotated[PowerOrder | FaultsOrder, Field(discriminator="order")]
