"""How a program of the chip ends."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SystemReset:
    """The chip resets itself, and samples BOOT0 again."""

    loads_options: bool = False  # it loads the option bytes anew, as at power-on


@dataclass(frozen=True)
class Jump:
    """What the vector table at an address names runs on."""

    vectors: int


Exit = SystemReset | Jump
