"""Addresses of boards on the network, as `Link.port` names them: `net://host:port`."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

SCHEME = "net"


@dataclass(frozen=True)
class Address:
    """Where a board is on the network."""

    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Address:
        """Raises `ValueError` for what is no `net://host:port`."""
        parts = urlsplit(url)
        if parts.scheme != SCHEME or not parts.hostname or not parts.port:
            raise ValueError(f"expected {SCHEME}://host:port, got {url!r}")
        return cls(parts.hostname, parts.port)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{SCHEME}://{self}"

    def lookup(self) -> str:
        """Its number. IPv4 where there are both: a board's mDNS name has either, and its updater may listen on IPv4
        alone (arduino-esp32's NetworkUDP does). Raises `OSError`.
        """
        found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        return str(min(found, key=lambda each: each[0] != socket.AF_INET)[4][0])
