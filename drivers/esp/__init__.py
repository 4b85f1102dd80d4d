"""Espressif chips, through esptool."""

from drivers.esp.driver import (
    ESP32,
    ESP32C2,
    ESP32C3,
    ESP32C5,
    ESP32C6,
    ESP32H2,
    ESP32P4,
    ESP32S2,
    ESP32S3,
    ESP8266,
    EspDriver,
    EspSession,
)

__all__ = [
    "ESP32",
    "ESP32C2",
    "ESP32C3",
    "ESP32C5",
    "ESP32C6",
    "ESP32H2",
    "ESP32P4",
    "ESP32S2",
    "ESP32S3",
    "ESP8266",
    "EspDriver",
    "EspSession",
]
