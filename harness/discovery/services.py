"""What a service on the network says of the board that announces it. Pure; `mdns` does the listening.

Sources: Arduino's ESPmDNS and ESP8266mDNS libraries (`enableArduino`: board, auth_upload, ssh_upload); ESPHome's
mdns_component.cpp (mac, platform, version) and the default ports of its `ota` component; Zephyr has no name of its own
for SMP over UDP: `_mcumgr._udp` is what applications are seen to use.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from harness.discovery.sighting import Connection, Sighting, identity_key, mac_of, plain

ARDUINO = "_arduino._tcp.local."
ESPHOME = "_esphomelib._tcp.local."
HTTP = "_http._tcp.local."
SMP = "_mcumgr._udp.local."
SERVICE_TYPES = (ARDUINO, ESPHOME, HTTP, SMP)

# ESPHome announces the port of its API, not the one of its updates.
_ESPHOME_OTA_PORTS = {"esp32": 3232, "esp8266": 8266, "rp2040": 2040, "rp2": 2040, "nrf52": 4232}


@dataclass(frozen=True)
class Service:
    """An announced service. `properties` are its TXT record as it arrived: any bytes."""

    service_type: str
    instance: str
    host_name: str
    addresses: tuple[str, ...]
    port: int
    properties: Mapping[bytes, bytes | None]

    def text(self, key: str) -> str:
        """A TXT value; "" where it is not there."""
        wanted = key.encode()
        for name, value in self.properties.items():
            if name.lower() == wanted:
                return plain((value or b"").decode("utf-8", "replace"))
        return ""


def sighting(service: Service) -> Sighting | None:
    """None for a service that no board's update has to do with, or that can not be reached."""
    if service.service_type not in SERVICE_TYPES or not service.addresses:
        return None
    types, port = _types(service), _port(service)
    mac = mac_of(service.text("mac"))
    host_name = plain(service.host_name).rstrip(".").lower()
    return Sighting(
        source="mdns",
        keys=frozenset({f"host:{host_name}", *([identity_key(mac)] if mac else [])}),
        connection=Connection(host=service.addresses[0], host_port=port),
        types=types,
        certain=bool(types) and service.service_type != HTTP,
        name=_name(service),
        serial=mac,
        device_id=host_name.removesuffix(".local"),
        remarks=tuple(_remarks(service, host_name)),
        ask_only_if_named=service.service_type == HTTP,
    )


def _types(service: Service) -> tuple[str, ...]:
    if service.service_type == ARDUINO:
        return () if service.text("ssh_upload") == "yes" else ("arduino-ota",)  # a Yún takes sketches over SSH
    return {ESPHOME: ("esphome",), HTTP: ("http-ota",), SMP: ("smp",)}[service.service_type]


def _port(service: Service) -> int | None:
    if service.service_type == ESPHOME:
        return _ESPHOME_OTA_PORTS.get(service.text("platform").lower())
    return service.port or None


def _name(service: Service) -> str:
    instance = plain(service.instance)
    if service.service_type == ESPHOME:
        what = " ".join(filter(None, ("ESPHome", service.text("version"), "on", service.text("platform") or "a board")))
        return f"{service.text('friendly_name') or instance}: {what}"
    if service.service_type == ARDUINO:
        return f"{instance}: ArduinoOTA on {service.text('board') or 'a board'}"
    return f"{instance}: {'a web server' if service.service_type == HTTP else 'SMP'}"


def _remarks(service: Service, host_name: str) -> Iterator[str]:
    yield f"called {host_name}: reserve its address, or write its name where this machine resolves it"
    if service.service_type == ARDUINO and service.text("auth_upload") == "yes":
        yield "it asks for a password"
    if service.service_type == ESPHOME:
        yield "the port is its platform's usual one: ESPHome does not announce it"
    if service.service_type == HTTP:
        yield "any web server looks like this: printers and cameras too"
