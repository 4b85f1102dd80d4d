"""What a bench and its owner say to each other: one line of JSON per message, over the bench's stdin and stdout."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from drivers.virtual.spec import Fault


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BoardPorts(_Message):
    """Where one board is reached; empty where it has no such port."""

    pty: str = ""
    url: str = ""  # RFC2217
    mount_point: str = ""  # the folder in which its boot drive appears and disappears
    drive: str = ""  # what appears there, in words: a mount, or why it is a plain folder
    usb: str = ""  # what `Link.usb` takes
    host: str = ""  # on the network, as host:port

    @property
    def connection(self) -> dict[str, str]:
        """The same in a plan's words: what a driver's link is made of."""
        port = f"net://{self.host}" if self.host else self.url or self.pty
        return {"port": port, "mount_point": self.mount_point, "usb": self.usb}


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
