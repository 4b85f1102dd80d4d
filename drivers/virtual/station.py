"""One board's place on the bench, and which module knows the boards of a chip.

A family of virtual boards is a module with a function `station(spec, state, wait_s)`; it is loaded when a spec asks for
one of its chips. A third party adds one with an entry point in the group `batch_flash.boards`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, cast

from drivers.virtual.errors import BenchError
from drivers.virtual.messages import BoardPorts
from drivers.virtual.spec import BoardSpec, Fault

ENTRY_POINT_GROUP = "batch_flash.boards"

_BUILT_IN: Mapping[str, str] = {
    "esp32": "drivers.virtual.esp.station:station",
    "esp32s2": "drivers.virtual.esp.station:station",
    "esp32s3": "drivers.virtual.esp.station:station",
    "esp32c2": "drivers.virtual.esp.station:station",
    "esp32c3": "drivers.virtual.esp.station:station",
    "esp32c5": "drivers.virtual.esp.station:station",
    "esp32c6": "drivers.virtual.esp.station:station",
    "esp32h2": "drivers.virtual.esp.station:station",
    "esp32p4": "drivers.virtual.esp.station:station",
    "esp8266": "drivers.virtual.esp.station:station",
    "esphome": "drivers.virtual.ota.esphome:station",
    "smp": "drivers.virtual.ota.smp:station",
    "arduino-ota": "drivers.virtual.ota.arduino:station",
    "http-ota": "drivers.virtual.ota.http:station",
    "stm32": "drivers.virtual.stm32.station:station",
    "stm32f103": "drivers.virtual.stm32.station:station",
    "stm32f407": "drivers.virtual.stm32.station:station",
    "stm32g071": "drivers.virtual.stm32.station:station",
    "stm32g0b1": "drivers.virtual.stm32.station:station",
    "pico": "drivers.virtual.pico.station:station",
    "pico-usb": "drivers.virtual.pico.station:station",
    "pico2": "drivers.virtual.pico.station:station",
    "pico2-usb": "drivers.virtual.pico.station:station",
    "rp2040": "drivers.virtual.pico.station:station",
    "rp2350": "drivers.virtual.pico.station:station",
    "arduino": "drivers.virtual.avr.station:station",
    "uno": "drivers.virtual.avr.station:station",
    "nano": "drivers.virtual.avr.station:station",
    "promini": "drivers.virtual.avr.station:station",
    "atmega328p": "drivers.virtual.avr.station:station",
    "atmega328": "drivers.virtual.avr.station:station",
    "atmega168": "drivers.virtual.avr.station:station",
    "mega": "drivers.virtual.avr.station:station",
    "mega2560": "drivers.virtual.avr.station:station",
    "atmega2560": "drivers.virtual.avr.station:station",
    "leonardo": "drivers.virtual.avr.station:station",
    "micro": "drivers.virtual.avr.station:station",
    "atmega32u4": "drivers.virtual.avr.station:station",
}


class Station(Protocol):
    """A context manager: its folder is locked from beginning to end. Raises BenchError when it can not begin."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def open(self) -> BoardPorts:
        """Switch the board on and offer its ports. Raises BenchError."""

    @property
    def is_in_use(self) -> bool:
        """Whether a client holds one of the board's ports, as far as that can be told."""

    def set_power(self, *, on: bool) -> None:
        """Connect or cut the board's supply."""

    def set_faults(self, faults: Sequence[Fault]) -> None:
        """Replace the board's faults. Raises BenchError for one that such a board can not have."""


MakeStation = Callable[[BoardSpec, Path, float], Station]


def make_station(spec: BoardSpec, state: Path, wait_s: float) -> Station:
    """The place of a board under the folder `state`; `wait_s`: seconds to wait for another bench that has the board."""
    return _maker(spec.chip, spec.board_id)(spec, state, wait_s)


def chips() -> tuple[str, ...]:
    """The chips of which there are virtual boards, in the order of the families."""
    return tuple(dict.fromkeys((*_BUILT_IN, *sorted(_third_party()))))


def relatives(chip: str) -> tuple[str, ...]:
    """The chips whose virtual boards the same module makes; none of a chip that is not known."""
    return tuple(other for other, module in _BUILT_IN.items() if module == _BUILT_IN.get(chip))


@cache
def _third_party() -> Mapping[str, MakeStation]:
    return {point.name: cast("MakeStation", point.load()) for point in entry_points(group=ENTRY_POINT_GROUP)}


def _maker(chip: str, board_id: str) -> MakeStation:
    if chip in _BUILT_IN:
        module, _, name = _BUILT_IN[chip].partition(":")
        return cast("MakeStation", getattr(import_module(module), name))
    if chip in _third_party():
        return _third_party()[chip]
    raise BenchError(f"{board_id}: there is no virtual board with chip {chip!r}; there are {', '.join(chips())}")
