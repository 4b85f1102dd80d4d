"""Any bytes at all never crash a board on the network: afterwards it still says which firmware it runs."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.virtual.ota.arduino_protocol import parse_invitation, parse_response
from tests.drivers.virtual.ota.boards import OLD, board, version_of

FEW = settings(max_examples=40)
UPDATERS = ("esp8266", "esp32", "elegant", "elegant3")
NUMBERS = st.integers(0, 10**18).map(str)


@pytest.fixture(scope="module", params=UPDATERS)
def web(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with board(tmp_path_factory.mktemp("web"), "http-ota", updater=request.param) as (_bench, host):
        yield host


@pytest.fixture(scope="module")
def arduino(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with board(tmp_path_factory.mktemp("arduino"), "arduino-ota") as (_bench, host):
        yield host


def address(host: str) -> tuple[str, int]:
    name, _, port = host.rpartition(":")
    return name, int(port)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Something like an upload: of true or untrue length, with a form that is whole, broken off, or none."""
    method = draw(st.sampled_from(["GET", "POST", "PUT", "G\x01T"]))
    path = draw(st.sampled_from(["/update", "/ota/start?hash=x", "/ota/upload", "/version", "/%ff", "*"]))
    part = b'--b\r\nContent-Disposition: form-data; name="firmware"; filename="f"\r\n\r\n'
    body = draw(st.sampled_from([b"", part, b"--b--"])) + draw(st.binary(max_size=200))
    body += draw(st.sampled_from([b"", b"\r\n--b--\r\n", b"\r\n--b\r\n"]))
    length = draw(st.one_of(st.just(len(body)), st.integers(0, 10**6), st.just(-1)))
    kind = draw(st.sampled_from(["multipart/form-data; boundary=b", "multipart/form-data", "text/plain", "\xff"]))
    authorization = draw(st.sampled_from(["", "Basic !!!", "Digest x", "Digest uri="]))
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nOrigin: http://x\r\nContent-Type: {kind}\r\n"
    head += f"Content-Length: {length}\r\nAuthorization: {authorization}\r\n\r\n"
    return head.encode("latin-1") + body


@FEW
@given(data=st.one_of(requests(), st.binary(max_size=300)))
def test_a_web_server_survives_any_request(web: str, data: bytes):
    with socket.create_connection(address(web), 30) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        try:
            while client.recv(0x1000):
                pass
        except ConnectionError:
            pass
    assert version_of(web) == OLD


DATAGRAMS = st.one_of(
    st.binary(max_size=100),
    st.builds(
        lambda command, port, size, md5: f"{command} {port} {size} {md5}\n".encode(),
        st.sampled_from(["0", "100", "200", " 0", "00", "-1"]),
        NUMBERS,
        NUMBERS,
        st.sampled_from(["0" * 32, "", "x" * 31, "\0" * 32]),
    ),
)


@FEW
@given(data=st.lists(DATAGRAMS, max_size=5))
def test_arduinoota_survives_any_datagrams(arduino: str, data: list[bytes]):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for datagram in data:
            client.sendto(datagram, address(arduino))
    assert version_of(arduino) == OLD


@given(st.binary(max_size=200))
def test_any_datagram_is_understood_or_not(data: bytes):
    invitation = parse_invitation(data)
    assert invitation is None or (len(invitation.md5) == 32 and 0 <= invitation.port <= 0xFFFF)
    response = parse_response(data, 64)
    assert response is None or len(response.cnonce) == len(response.response) == 64
