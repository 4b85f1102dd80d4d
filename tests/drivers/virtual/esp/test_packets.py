from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from drivers.virtual.esp import packets
from tests.drivers.virtual.probe import xor


@given(st.binary(max_size=40000))
def test_the_checksum_is_the_xor_of_all_bytes(data: bytes) -> None:
    assert packets.checksum(data) == xor(data)


@given(st.binary())
def test_any_frame_is_a_request_or_nothing(frame: bytes) -> None:
    parsed = packets.parse(frame)
    assert (parsed is None) == (len(frame) < 8)
    if parsed is not None:
        assert parsed.whole == (struct.unpack_from("<H", frame, 2)[0] == len(frame) - 8)
        assert parsed.data == frame[8:]


@given(st.integers(0, 255), st.integers(0, 2**32 - 1), st.binary(max_size=100))
def test_an_answer_states_its_length(op: int, value: int, payload: bytes) -> None:
    frame = packets.answer(op, value, payload)
    assert struct.unpack_from("<BBHI", frame) == (1, op, len(payload), value)
    assert frame[8:] == payload


@given(st.binary(max_size=64), st.integers(0, 6))
def test_words_are_read_only_from_data_of_exactly_their_length(data: bytes, count: int) -> None:
    assert (packets.words(data, count) is not None) == (len(data) == 4 * count)


@given(st.binary(max_size=64))
def test_a_block_needs_its_whole_header(data: bytes) -> None:
    received = packets.block(data)
    assert (received is None) == (len(data) < 16)
    if received is not None:
        assert received.data == data[16:]
