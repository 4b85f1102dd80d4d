"""Whatever arrives at their ports, the boards go on: they answer the next proper request, and run the same firmware."""

from __future__ import annotations

import asyncio
import socket
import struct
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import cbor2
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.virtual.ota import smp_firmware
from drivers.virtual.ota.esphome import station as esphome_station
from drivers.virtual.ota.smp import station as smp_station
from drivers.virtual.spec import BoardSpec

SLOW = settings(max_examples=25, deadline=None)
_HI = cbor2.dumps({"d": "hi!"})
ECHO = struct.pack(">BBHHBB", 2 | 8, 0, len(_HI), 0, 77, 0) + _HI
HEAD = smp_firmware.image("9.9.9", 100)
SMALL = st.integers(0, 9)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "off": st.sampled_from([0, 1, 32, 2**31, -1, 2**40, "0"]),
        "len": st.sampled_from([0, 10, len(HEAD), 2**31, 2**33, None]),
        "data": st.one_of(st.binary(max_size=50), st.just(HEAD), st.just(HEAD[:40])),
        "sha": st.binary(max_size=40),
        "image": SMALL,
        "upgrade": st.booleans(),
        "hash": st.binary(max_size=40),
        "confirm": st.booleans(),
        "slot": SMALL,
        "format": st.text(alphabet="snrvmpioax", max_size=5),
        "query": st.sampled_from(["mode", "", "x"]),
        "d": st.text(max_size=5),
    },
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Something like a request, of true or untrue length; no reset, which is tested elsewhere."""
    body = draw(st.one_of(FIELDS.map(cbor2.dumps), st.binary(max_size=40)))
    size = draw(st.one_of(st.just(len(body)), st.integers(0, 0xFFFF)))
    group, command = draw(st.tuples(st.integers(0, 2), SMALL).filter(lambda address: address != (0, 5)))
    head = struct.pack(">BBHHBB", draw(st.integers(0, 255)), 0, size, group, draw(st.integers(0, 255)), command)
    return head + body


STREAM = st.lists(st.one_of(requests(), st.binary(max_size=60)), max_size=10)


def on_board(make: Callable[[Path], object], test: Callable[[str, int], Awaitable[None]]) -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder, make(Path(folder)) as place:
            host, _, port = (await place.open()).host.rpartition(":")
            await asyncio.sleep(0)
            await test(host, int(port))

    asyncio.run(run())


async def is_answered(client: socket.socket, request: bytes, answer: dict[str, str]) -> bool:
    """Whether the board answers so in the end; answers to what came before are passed over."""
    loop = asyncio.get_running_loop()
    for _ in range(20):
        client.send(request)
        try:
            async with asyncio.timeout(0.5):
                while cbor2.loads((await loop.sock_recv(client, 4096))[8:]) != answer:
                    pass
        except TimeoutError:
            continue
        return True
    return False


@SLOW
@given(STREAM)
def test_an_smp_board_survives_any_datagrams(stream: list[bytes]) -> None:
    async def test(host: str, port: int) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            client.connect((host, port))
            for datagram in stream:
                client.send(datagram)
                await asyncio.sleep(0)
            assert await is_answered(client, ECHO, {"r": "hi!"})

    on_board(lambda folder: smp_station(BoardSpec(board_id="Z", chip="smp", flash_size=0x8000 * 4), folder, 0), test)


PIECE = st.one_of(
    st.just(bytes.fromhex("6c26f75c45")),
    st.binary(max_size=40),
    st.sampled_from([b"\x07", b"\x00", b"\x00\x00\x00\x10", b"\xff" * 4, b"a" * 32, b"GET /version HTTP/1.1\r\n\r\n"]),
)


@SLOW
@given(st.lists(st.lists(PIECE, max_size=8), max_size=3))
def test_an_esphome_board_survives_any_bytes(clients: list[list[bytes]]) -> None:
    async def test(host: str, port: int) -> None:
        for pieces in clients:
            _reader, writer = await asyncio.open_connection(host, port)
            for piece in pieces:
                writer.write(piece)
            writer.close()
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(bytes.fromhex("6c26f75c45"))
        async with asyncio.timeout(30):
            assert await reader.readexactly(2) == b"\x00\x02"
        writer.close()

    on_board(lambda folder: esphome_station(BoardSpec(board_id="E", chip="esphome"), folder, 0), test)
