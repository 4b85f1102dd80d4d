"""Any bytes at all never crash a board: whatever came before, it answers a SYNC after the next reset."""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.virtual.esp.firmware import factory_image
from tests.drivers.virtual.probe import Probe, escaped, on_board, xor

CHIPS = ("esp32", "esp32s3", "esp32c3", "esp8266")
SLOW = settings(max_examples=25, deadline=None)
WORD = st.one_of(st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 4, 16, 0x400, 0x1000, 0x10000, 0x3FFB0000]))
OPS = st.one_of(st.integers(0, 0x20), st.integers(0xD0, 0xDF), st.integers(0, 255))


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Something like a command: known or not, of true or untrue length and checksum, with few or many parameters."""
    body = b"".join(struct.pack("<I", word) for word in draw(st.lists(WORD, max_size=7)))
    body += draw(st.binary(max_size=80))
    size = draw(st.one_of(st.just(len(body)), st.integers(0, 0xFFFF)))
    check = draw(st.one_of(st.just(xor(body[16:])), st.integers(0, 2**32 - 1)))
    return escaped(struct.pack("<BBHI", draw(st.sampled_from([0, 0, 0, 1, 7])), draw(OPS), size, check) + body)


STREAM = st.lists(st.one_of(requests(), st.binary(max_size=60)), max_size=12)


def survives(chip: str, stream: list[bytes], enter: str) -> None:
    async def test(probe: Probe) -> None:
        if enter == "app":
            probe.board.set_power(on=True)
        else:
            await getattr(probe, f"enter_{enter}")()
        for piece in stream:
            probe.send(piece)
            await probe.settle()
        probe.baud = 115200
        assert (await probe.enter_loader()).ok

    with tempfile.TemporaryDirectory() as folder:
        on_board(Path(folder), chip, test, contents=FACTORY[chip])


FACTORY = {chip: factory_image(chip) for chip in CHIPS}


@pytest.mark.parametrize("chip", CHIPS)
@SLOW
@given(stream=STREAM)
def test_the_loader_survives_any_bytes(chip: str, stream: list[bytes]) -> None:
    survives(chip, stream, "loader")


@pytest.mark.parametrize("chip", ["esp32", "esp32c3"])
@SLOW
@given(stream=STREAM)
def test_the_stub_survives_any_bytes(chip: str, stream: list[bytes]) -> None:
    survives(chip, stream, "stub")


@pytest.mark.parametrize("chip", ["esp32", "esp8266"])
@SLOW
@given(stream=STREAM)
def test_the_application_survives_any_bytes(chip: str, stream: list[bytes]) -> None:
    survives(chip, stream, "app")


@pytest.mark.parametrize("chip", CHIPS)
@SLOW
@given(junk=st.lists(st.tuples(st.integers(0, 0x50000), st.binary(min_size=1, max_size=40)), max_size=6))
def test_a_board_boots_any_flash_without_crashing(chip: str, junk: list[tuple[int, bytes]]) -> None:
    contents = bytearray(FACTORY[chip])
    for at, data in junk:
        contents[at : at + len(data)] = data

    async def test(probe: Probe) -> None:
        probe.board.set_power(on=True)
        await probe.settle()
        assert probe.heard, "the ROM says at least why it started"
        assert (await probe.enter_loader()).ok

    with tempfile.TemporaryDirectory() as folder:
        on_board(Path(folder), chip, test, contents=bytes(contents))
