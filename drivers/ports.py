"""Opening a port: pyserial's, with what makes its RFC2217 client bearable."""

from __future__ import annotations

import serial
import serial.rfc2217


class Rfc2217Port(serial.rfc2217.Serial):
    """pyserial negotiates all settings anew, at 50 ms at least, whenever the read timeout is set: for every packet.

    The timeout is the client's own affair; nothing of it goes to the server (igrr/rfc2217-server#7).
    """

    @property
    def timeout(self) -> float | None:
        return self._timeout

    @timeout.setter
    def timeout(self, timeout: float | None) -> None:
        self._timeout = timeout


def closed_port(url: str) -> serial.Serial:
    """A port that is not open yet, for exclusive use: a device file, or a URL that pyserial knows."""
    if url.startswith("rfc2217://"):
        port = Rfc2217Port()
        port.port = url
        return port  # type: ignore[return-value]  # pyserial's classes share an interface, not a base that says so
    return serial.serial_for_url(url, do_not_open=True, exclusive=True)
