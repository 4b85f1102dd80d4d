"""A chip on its own USB port: the port leaves the bus with each reset, and comes back when the next program is up."""

from __future__ import annotations

import math
import os
import pty
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from drivers.base import ConnectionLost, Link, PortUnavailable
from drivers.esp import ESP32, EspSession
from drivers.esp import driver as esp_driver
from drivers.esp.log import esptool
from harness.deadline import limit


class UsbPort:
    """A serial port that can be unplugged: a name that leads to a pty while it is there."""

    def __init__(self, folder: Path) -> None:
        self.name = folder / "ttyACM0"
        self._ends: tuple[int, ...] = ()

    def appear(self) -> None:
        board, host = pty.openpty()
        tty.setraw(host)
        self._ends = (board, host)
        self.name.symlink_to(os.ttyname(host))

    def vanish(self) -> None:
        self.name.unlink()
        for end in self._ends:
            os.close(end)
        self._ends = ()

    def say(self, text: bytes) -> None:
        os.write(self._ends[0], text)


@pytest.fixture
def port(tmp_path: Path) -> Iterator[UsbPort]:
    port = UsbPort(tmp_path)
    port.appear()
    yield port
    if port.name.is_symlink():
        port.vanish()


@pytest.fixture
def session(port: UsbPort) -> Iterator[EspSession]:
    opened = ESP32.open(Link(str(port.name), 115200, 115200), lambda _line: None)
    yield opened
    opened.close()


def test_a_console_goes_on_when_its_port_is_back(port: UsbPort, session: EspSession):
    session.read_console(0.01)
    port.say(b"old\n")
    assert session.read_console(30) == b"old\n"
    port.vanish()
    for _ in range(4):
        assert session.read_console(0.01) == b""
    port.appear()
    session.read_console(0.01)
    port.say(b"new\n")
    assert session.read_console(30) == b"new\n"


def test_a_port_that_does_not_come_back_is_an_error(port: UsbPort, session: EspSession, monkeypatch):
    monkeypatch.setattr(esp_driver, "_PORT_PATIENCE_S", 0.3)
    session.read_console(0.01)
    port.vanish()
    with pytest.raises(PortUnavailable, match="ttyACM0"), limit(30, "waiting for it"):
        while True:
            session.read_console(0.01)


def test_each_attempt_waits_anew_for_a_port_that_was_there(port: UsbPort, session: EspSession, monkeypatch):
    """Firmware that crashes again and again is there now and then: to be taken back, it must be met."""
    clock = Clock()
    monkeypatch.setattr(esp_driver, "time", clock)
    session.read_console(0.01)
    port.vanish()
    with pytest.raises(PortUnavailable):
        while True:
            session.read_console(0.01)
    monkeypatch.setattr(esptool, "detect_chip", say_no)
    clock.when_it_is(clock.now + 5, port.appear)
    with pytest.raises(ConnectionLost, match="No serial data received"):
        session.connect()


class Clock:
    """The driver's time, which passes while it sleeps and at no other moment."""

    def __init__(self) -> None:
        self.now = 0.0
        self._at, self._act = math.inf, lambda: None

    def when_it_is(self, at: float, act: Callable[[], None]) -> None:
        self._at, self._act = at, act

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.now >= self._at:
            self._at = math.inf
            self._act()


def say_no(_port: object, *_more: object, **_others: object) -> None:
    raise esptool.FatalError("Failed to connect to ESP32-S2: No serial data received.")


def test_lines_are_not_moved_when_a_port_comes_back(port: UsbPort, session: EspSession):
    """DTR and RTS one after the other would reset the chip again."""
    session.read_console(0.01)
    assert session._port is not None
    session._port._dtr_state = session._port._rts_state = False  # as a reset leaves them
    port.vanish()
    session.read_console(0.01)
    port.appear()
    session.read_console(0.01)
    assert (session._port.dtr, session._port.rts) == (True, True)
