from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from drivers.virtual.esp import slip


@given(st.lists(st.binary(min_size=1, max_size=200)), st.data())
def test_frames_survive_in_any_pieces(payloads: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(slip.encode(payload) for payload in payloads)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    decoder = slip.Decoder()
    frames = [
        frame for start, end in zip([0, *cuts], [*cuts, None], strict=True) for frame in decoder.feed(stream[start:end])
    ]
    assert frames == payloads


@given(st.binary(), st.binary(min_size=1))
def test_a_frame_is_found_after_any_noise_that_an_end_byte_closes(noise: bytes, payload: bytes) -> None:
    decoder = slip.Decoder()
    decoder.feed(noise + b"\xc0\xc0")
    frames = decoder.feed(slip.encode(payload) + slip.encode(payload))
    assert payload in frames


@given(st.binary())
def test_no_end_byte_and_no_bare_escape_stands_inside_of_a_frame(payload: bytes) -> None:
    inside = slip.encode(payload)[1:-1]
    assert b"\xc0" not in inside
    assert inside.count(b"\xdb") == payload.count(b"\xdb") + payload.count(b"\xc0")


def test_a_frame_with_a_broken_escape_is_dropped_and_the_next_one_taken() -> None:
    assert slip.Decoder().feed(b"\xc0ab\xdbxy\xc0" + slip.encode(b"good")) == [b"good"]


def test_an_endless_frame_does_not_fill_the_memory() -> None:
    decoder = slip.Decoder()
    decoder.feed(b"\xc0")
    for _ in range(10):
        assert decoder.feed(b"x" * slip.MAX_FRAME) == []
    assert decoder.feed(b"\xc0" + slip.encode(b"good")) in ([b"good"], [])
    assert decoder.feed(slip.encode(b"good")) == [b"good"]
