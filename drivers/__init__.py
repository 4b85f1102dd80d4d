"""The families of boards: how each is identified, read, written and reset.

A driver is found by its device type, and loaded only when it is asked for: `import esptool` alone takes 0.1 s in
each worker. A third party adds a family with an entry point in the group `batch_flash.drivers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from drivers.base import Driver, UnknownDeviceType

ENTRY_POINT_GROUP = "batch_flash.drivers"

_BUILT_IN: dict[str, str] = {
    "arduino": "drivers.avr:ARDUINO",
    "esp32": "drivers.esp:ESP32",
    "esp32c2": "drivers.esp:ESP32C2",
    "esp32c3": "drivers.esp:ESP32C3",
    "esp32c5": "drivers.esp:ESP32C5",
    "esp32c6": "drivers.esp:ESP32C6",
    "esp32h2": "drivers.esp:ESP32H2",
    "esp32p4": "drivers.esp:ESP32P4",
    "esp32s2": "drivers.esp:ESP32S2",
    "esp32s3": "drivers.esp:ESP32S3",
    "esp8266": "drivers.esp:ESP8266",
    "arduino-ota": "drivers.ota.arduino:ARDUINO_OTA",
    "http-ota": "drivers.ota.http:HTTP_OTA",
    "esphome": "drivers.ota.esphome:ESPHOME",
    "smp": "drivers.ota.smp:SMP",
    "stm32": "drivers.stm32:STM32",
    "pico": "drivers.pico:PICO",
    "pico-usb": "drivers.pico:PICO_USB",
    "pico2": "drivers.pico:PICO2",
    "pico2-usb": "drivers.pico:PICO2_USB",
}


def device_types() -> tuple[str, ...]:
    """Every device type that has a driver, sorted."""
    return tuple(sorted(_third_party().keys() | _BUILT_IN.keys()))


@cache
def _third_party() -> Mapping[str, EntryPoint]:
    """By device type. Once in a process: each look reads the metadata of every package that is installed (5 ms)."""
    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}


def load_driver(device_type: str) -> Driver:
    """The driver of a device type; a built-in one wins over an entry point of the same name.

    Raises `UnknownDeviceType` with the known types in its message.
    """
    if device_type in _BUILT_IN:
        module, _, attribute = _BUILT_IN[device_type].partition(":")
        return cast("Driver", getattr(import_module(module), attribute))
    if device_type in _third_party():
        return cast("Driver", _third_party()[device_type].load())
    raise UnknownDeviceType(device_type, device_types())
