"""What a board prints is read alike however its bytes arrive, and only the wanted firmware counts as started."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.base import BootFailed
from drivers.esp import ESP32
from harness.boot import Wanted, watch
from harness.console import Console

# As ESP-IDF prints it with its default settings: coloured.
COLOURED = (
    "rst:0x1 (POWERON_RESET),boot:0x13\r\n"
    "\x1b[0;32mI (31) cpu_start: App version:      1.2.0\x1b[0m\r\n"
    "\x1b[0;32mI (99) room: 21 °C\x1b[0m\r\n"
)


WITHIN_S = 0.02


class Line:
    """A board's output in the pieces that it arrives in."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = list(pieces)

    def read_console(self, timeout_s: float) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""


class HeldUp(Line):
    """Where a piece is empty, the process that reads stands still for longer than it was to wait."""

    def read_console(self, timeout_s: float) -> bytes:
        said = super().read_console(timeout_s)
        if not said:
            time.sleep(2 * WITHIN_S)
        return said


def start(line: Line | Sequence[bytes], version: str | None = "1.2.0", patterns: tuple[str, ...] = ()) -> str | None:
    wanted = Wanted(version, patterns, reject=(), within_s=WITHIN_S, settle_s=WITHIN_S)
    console = Console(line if isinstance(line, Line) else Line(line), lambda _text: None)
    return watch(console, ESP32, wanted)


@given(cuts=st.sets(st.integers(1, len(COLOURED.encode()) - 1)))
def test_the_version_is_found_however_the_output_is_cut(cuts):
    data, at = COLOURED.encode(), sorted(cuts)
    pieces = [data[a:b] for a, b in zip([0, *at], [*at, len(data)], strict=True)]
    wanted = Wanted("1.2.0", ("^I .* 21 °C$",), reject=(), within_s=5, settle_s=0)
    console = Console(Line(pieces), lambda _text: None)
    assert watch(console, ESP32, wanted) == "1.2.0"
    assert "\x1b" not in console.text
    assert "\r" not in console.text


@pytest.mark.parametrize("line", ["room 1.2.0\n", "Firmware v1.2.0.\n", "1.2.0", "\x1b[32m1.2.0\x1b[0m\n"])
def test_firmware_without_an_app_version_line_may_name_it_anywhere(line):
    assert start([line.encode()]) == "1.2.0"


@pytest.mark.parametrize(
    "pieces", [[b"1.2.0-rc1\n"], [b"1.2.0", b"-rc1\n"], [b"11.2.0\n"], [b"1.2.0.7\n"], [b"1.2.01\n"]]
)
def test_a_version_that_only_begins_like_the_wanted_one_is_another(pieces):
    with pytest.raises(BootFailed, match=r"version 1\.2\.0 did not appear"):
        start(pieces)


def test_firmware_that_prints_nothing_can_be_accepted_by_the_batch():
    assert start([], version=None) is None


def test_what_a_board_says_while_we_stand_still_on_a_busy_machine_is_heard():
    assert start(HeldUp([b"", b"App version: 1.2.0\n"])) == "1.2.0"
    with pytest.raises(BootFailed, match="Guru Meditation"):
        start(HeldUp([b"App version: 1.2.0\n", b"", b"Guru Meditation Error: Core 0 panic'ed\n"]))


def test_another_version_comes_with_the_usual_reason():
    with pytest.raises(BootFailed, match=r"reports version 1\.1\.0, not 1\.2\.0") as raised:
        start([b"I (31) cpu_start: App version:      1.1.0\r\n"])
    assert "slots" in raised.value.advice
