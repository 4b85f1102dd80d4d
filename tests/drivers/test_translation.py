"""What leaves a session is one of the drivers' errors, and the session is not half-working after it."""

from __future__ import annotations

import errno
import os
import termios
from collections.abc import Callable, Iterator

import pytest
import serial

from drivers.avr.cdc import CdcPort
from drivers.base import ConnectionLost, Link, WrongBoard
from drivers.pico.app import AppPort
from drivers.translation import translated


def leaving_with(error: BaseException) -> tuple[BaseException, list[str]]:
    calls: list[str] = []
    with (
        pytest.raises(BaseException) as raised,
        translated(
            lambda error, doing: ConnectionLost(f"{doing}: {error}"),
            "connect",
            failed=lambda: calls.append("failed"),
            cut_short=lambda: calls.append("cut short"),
        ),
    ):
        raise error
    return raised.value, calls


def test_a_librarys_error_becomes_ours_and_is_kept_as_the_cause():
    error = ValueError("noise")
    raised, calls = leaving_with(error)
    assert (str(raised), raised.__cause__, calls) == ("connect: noise", error, ["failed"])


def test_an_error_of_ours_goes_through_unchanged():
    error = WrongBoard("another board")
    assert leaving_with(error) == (error, ["failed"])


def test_a_time_limit_goes_through_unchanged_and_costs_no_closing():
    error = KeyboardInterrupt()
    assert leaving_with(error) == (error, ["cut short"])


@pytest.fixture
def vanishing(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A port that leaves the bus while it is opened for the first time; pyserial lets termios' own error through."""
    whole, errors = serial.Serial._reset_input_buffer, [termios.error(errno.EIO, "Input/output error")]

    def flush(port: serial.Serial) -> None:
        if errors:
            raise errors.pop()
        whole(port)

    monkeypatch.setattr(serial.Serial, "_reset_input_buffer", flush)
    ends = os.openpty()
    yield os.ttyname(ends[1])
    for end in ends:
        os.close(end)


def listen_to_a_pico(name: str) -> bytes:
    port = AppPort(Link(name, 115200, 115200), lambda _line: None)
    try:
        return port.read(0.3)
    finally:
        port.close()


def listen_to_a_leonardo(name: str) -> bytes:
    port = CdcPort(name, lambda _line: None, patience_s=30.0)
    try:
        port.open(115200)
        return port.hear()
    finally:
        port.close()


@pytest.mark.parametrize("listen", [listen_to_a_pico, listen_to_a_leonardo])
def test_a_port_that_vanishes_while_it_is_opened_is_opened_again(vanishing: str, listen: Callable[[str], bytes]):
    assert listen(vanishing) == b""
