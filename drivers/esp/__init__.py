"""Espressif chips, through esptool."""

from drivers.esp.driver import ESP32, ESP32C3, ESP32S3, ESP8266, EspDriver, EspSession

__all__ = ["ESP32", "ESP32C3", "ESP32S3", "ESP8266", "EspDriver", "EspSession"]
