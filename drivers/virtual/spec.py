"""What a virtual board is asked to be: data only, so that the batch, the command line and the bench share it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue


class Speed(StrEnum):
    """`REALISTIC` paces bytes by baud and charges flash times (see timing.py); `FAST` does not wait."""

    FAST = "fast"
    REALISTIC = "realistic"


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


Times = Annotated[int | None, Field(ge=1, description="How many times it happens. Left out: always.")]


class SilentLine(_Data):
    """The board never says a byte."""

    fault: Literal["silent"]
    times: Times = None  # connections (resets into the boot loader)


class LineDrop(_Data):
    """The line goes dead (RFC2217: the connection is closed) after so many bytes from the host."""

    fault: Literal["line-drop"]
    after_bytes: int = Field(ge=0, description="Bytes from the host before the line is dead.")
    times: Times = None


class BitErrors(_Data):
    """Single bits flip on the way, in both directions, with this probability per byte."""

    fault: Literal["bit-errors"]
    rate: float = Field(gt=0, le=1, description="Probability of a flipped bit, per byte.")
    times: Times = None  # flipped bits


class WrongMd5(_Data):
    """The flash digest that the board reports is wrong."""

    fault: Literal["wrong-md5"]
    times: Times = None  # answers


class WrongChip(_Data):
    """Another chip than the batch expects sits on the port."""

    fault: Literal["wrong-chip"]
    chip: str = Field(description="The chip that answers.")


class StuckInApp(_Data):
    """The reset lines do not reach the chip: it stays in its application."""

    fault: Literal["stuck-in-app"]
    times: Times = None  # resets


class SlowErase(_Data):
    """Each erase takes this many seconds more."""

    fault: Literal["slow-erase"]
    seconds: float = Field(gt=0, description="How much longer each erase takes, in seconds.")
    times: Times = None  # erases


class PowerLoss(_Data):
    """The supply drops for good at byte N that is programmed into flash; the bytes before it are in flash."""

    fault: Literal["power-loss"]
    at_byte: int = Field(ge=0, description="Bytes that are programmed before the supply drops.")
    off_s: float | None = Field(default=None, ge=0, description="Seconds until it is back. Left out: never.")
    times: Times = 1


class Panics(_Data):
    """Firmware that fails on this board's hardware revision: these versions start, and crash, again and again."""

    fault: Literal["panics"]
    versions: tuple[str, ...] = Field(min_length=1, description="The versions that crash; others run.")


Fault = Annotated[
    SilentLine | LineDrop | BitErrors | WrongMd5 | WrongChip | StuckInApp | SlowErase | PowerLoss | Panics,
    Field(discriminator="fault"),
]


class BoardSpec(_Data):
    """One virtual board."""

    board_id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    chip: str  # one of `station.chips()`
    mac: str | None = None  # derived from board_id where left out
    serial: str | None = None  # of boards that have no MAC; likewise
    flash_size: int | None = Field(default=None, gt=0)  # bytes; the chip's usual one where left out
    speed: Speed = Speed.FAST
    faults: tuple[Fault, ...] = ()
    flash_baudrate: int | None = None  # of a boot loader that has one rate; the chip's usual one where left out
    factory: Path | None = None  # an image of the flash from address 0 on; a generic firmware where left out
    keep: bool = True  # False: the flash is made anew from `factory` at the bench's start
    options: Mapping[str, JsonValue] = {}  # the target's `options` with those of `virtual` over them, as the files say
    port: str = ""  # what the target's connection names; so that a twin offers the same kinds of connection
    mount_point: str = ""
    usb: str = ""


class BenchSpec(_Data):
    """A bench: its boards, and the folder that their flash files live in (`<state>/<board_id>/flash.bin`)."""

    state: Path
    boards: tuple[BoardSpec, ...]
    wait_s: float = Field(default=0.0, ge=0)  # seconds to wait for another bench that has one of the boards
