"""The RFC2217 port on the wire, spoken by hand: what pyserial's client does not show."""

from __future__ import annotations

import asyncio
import contextlib
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.virtual.faults import Faults
from drivers.virtual.rfc2217 import Rfc2217Port
from drivers.virtual.spec import LineDrop, Speed
from drivers.virtual.timing import Pace
from drivers.virtual.wire import Wire

IAC, SB, SE, COM_PORT = b"\xff", b"\xfa", b"\xf0", b"\x2c"
SET_BAUD, SET_CONTROL = b"\x01", b"\x05"
CONTROL = {b"\x08": {"dtr": True}, b"\x09": {"dtr": False}, b"\x0b": {"rts": True}, b"\x0c": {"rts": False}}
QUICK = settings(max_examples=40, deadline=None)


def command(option: bytes, value: bytes) -> bytes:
    return IAC + SB + COM_PORT + option + value.replace(IAC, IAC + IAC) + IAC + SE


def baud(rate: int) -> bytes:
    return command(SET_BAUD, rate.to_bytes(4, "big"))


class Lines:
    def __init__(self) -> None:
        self.seen: list[dict[str, bool]] = []

    def set(self, **change: bool) -> None:
        self.seen.append(change)


def through_the_port(pieces: list[bytes], *faults) -> tuple[list[tuple[bytes, int]], list[dict[str, bool]], bytes]:
    """What arrives at the board (with its baud rate), what its reset lines saw, what the client heard last."""

    async def talk() -> tuple[list[tuple[bytes, int]], list[dict[str, bool]], bytes]:
        wire = Wire(Pace(Speed.FAST), Faults(faults, "b"))
        arrived: list[tuple[bytes, int]] = []
        wire.from_host = lambda data, rate, _parity: arrived.append((data, rate)) if data else None  # type: ignore[method-assign]
        lines = Lines()
        port = Rfc2217Port(wire, lines.set)
        host, _, number = (await port.open()).removeprefix("rfc2217://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(number))
        await reader.read(1)
        wire.baud = 9600  # the rate of a port that nobody has set yet
        await wire.send(b"a\xffb")
        with contextlib.suppress(OSError):  # one whose telnet is broken was let go
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            writer.write_eof()
        heard = await asyncio.wait_for(_all(reader), 30)
        writer.close()
        port.close()
        return arrived, lines.seen, heard

    return asyncio.run(talk())


async def _all(reader: asyncio.StreamReader) -> bytes:
    heard = b""
    try:
        while piece := await reader.read(4096):
            heard += piece
    except ConnectionError:
        pass
    return heard


@QUICK
@given(data=st.binary(max_size=300), cuts=st.lists(st.integers(0, 600), max_size=5))
def test_data_arrives_as_it_was_sent_in_any_pieces(data: bytes, cuts: list[int]) -> None:
    escaped = data.replace(IAC, IAC + IAC)
    edges = [0, *sorted(min(cut, len(escaped)) for cut in cuts), len(escaped)]
    arrived, _, _ = through_the_port([escaped[a:b] for a, b in pairwise(edges)])
    assert b"".join(piece for piece, _ in arrived) == data


def test_each_byte_keeps_the_rate_that_it_was_sent_at() -> None:
    arrived, _, _ = through_the_port([baud(115200) + b"slow" + baud(921600) + b"fast"])
    assert arrived == [(b"slow", 115200), (b"fast", 921600)]


def test_the_lines_follow_their_commands_in_order() -> None:
    _, seen, _ = through_the_port([b"".join(command(SET_CONTROL, value) for value in CONTROL)])
    assert seen == [*CONTROL.values(), {"dtr": False, "rts": False}], "and both fall when the client goes"


def test_what_the_board_says_is_escaped() -> None:
    _, _, heard = through_the_port([])
    assert b"a\xff\xffb" in heard


def test_the_connection_drops_after_exactly_so_many_bytes() -> None:
    arrived, _, _ = through_the_port([b"12345", b"67890"], LineDrop(fault="line-drop", after_bytes=7))
    assert b"".join(piece for piece, _ in arrived) == b"1234567"


@QUICK
@given(pieces=st.lists(st.binary(max_size=40), max_size=5))
def test_any_bytes_at_all_never_crash_the_port(pieces: list[bytes]) -> None:
    through_the_port(pieces)
    arrived, _, _ = through_the_port([b"still there"])
    assert b"".join(piece for piece, _ in arrived) == b"still there"
