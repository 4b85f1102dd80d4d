"""Raspberry Pi Pico and other boards with RP2040 or RP2350, over their boot drive or over USB."""

from drivers.pico.driver import PICO, PICO2, PICO2_USB, PICO_USB, PicoDriver
from drivers.pico.options import PicoOptions

__all__ = ["PICO", "PICO2", "PICO2_USB", "PICO_USB", "PicoDriver", "PicoOptions"]
