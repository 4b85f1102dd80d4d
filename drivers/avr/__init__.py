"""AVR Arduinos, through avrdude."""

from drivers.avr.driver import ARDUINO, AvrDriver, AvrOptions, AvrSession

__all__ = ["ARDUINO", "AvrDriver", "AvrOptions", "AvrSession"]
