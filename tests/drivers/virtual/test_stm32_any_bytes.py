"""Any bytes at all never crash a board: whatever came before, it answers a 0x7F after the next reset."""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.virtual.stm32.firmware import factory_image
from tests.drivers.virtual.stm32_probe import ACK, BASE, Probe, address, block, on_board, op, page_list, with_xor

CHIPS = ("stm32f103", "stm32f407", "stm32g071")
SLOW = settings(max_examples=12, deadline=None)
PLACES = st.one_of(
    st.integers(0, 2**32 - 1),
    st.sampled_from([BASE, BASE + 0xFFFC, 0x20000000, 0x20004000, 0x1FFFF7E0, 0x1FFF7A00, 0x1FFFF800, 0x1FFFC000]),
)
BYTES = st.binary(min_size=1, max_size=256)
FRAMES = st.one_of(
    st.sampled_from([0, 1, 2, 0x11, 0x21, 0x31, 0x43, 0x44, 0x63, 0x73, 0x82, 0x92, 0x7F, 0xFF]).map(op),
    PLACES.map(lambda at: address(at)),
    PLACES.map(lambda at: op(0x11) + address(at) + op(at & 0xFF)),
    st.tuples(PLACES, BYTES).map(lambda each: op(0x31) + address(each[0]) + block(each[1])),
    PLACES.map(lambda at: op(0x21) + address(at)),
    BYTES.map(lambda data: op(0x63) + block(data)),
    BYTES.map(lambda data: op(0x43) + with_xor(bytes([len(data) - 1]) + data)),
    st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=9).map(lambda pages: op(0x44) + page_list(*pages)),
    st.binary(max_size=60),
)


def survives(chip: str, stream: list[bytes], *, boot0: bool, contents: bytes) -> None:
    async def test(probe: Probe) -> None:
        await probe.reset(boot0=boot0)
        if boot0:
            probe.send(b"\x7f")
        for piece in stream:
            await probe.settle()
            probe.send(piece)
        await probe.settle()
        probe.baud = 115200
        assert await probe.enter_loader() == ACK

    with tempfile.TemporaryDirectory() as folder:
        on_board(Path(folder), chip, test, contents=contents)


@pytest.mark.parametrize("chip", CHIPS)
@SLOW
@given(stream=st.lists(FRAMES, max_size=10))
def test_the_boot_loader_survives_any_bytes(chip: str, stream: list[bytes]) -> None:
    survives(chip, stream, boot0=True, contents=factory_image())


@SLOW
@given(stream=st.lists(st.binary(max_size=60), max_size=8))
def test_the_application_survives_any_bytes(stream: list[bytes]) -> None:
    survives("stm32f103", stream, boot0=False, contents=factory_image())


@pytest.mark.parametrize("chip", CHIPS)
@SLOW
@given(head=st.binary(max_size=16), rest=st.binary(max_size=600), line=st.sampled_from([b"", b"BENCHAPP a b size=9 "]))
def test_a_board_starts_any_flash_without_crashing(chip: str, head: bytes, rest: bytes, line: bytes) -> None:
    vectors = struct.pack("<II", 0x20002000, BASE + 9)
    survives(chip, [b"version\n"], boot0=False, contents=(head or vectors) + line + rest)
