"""ArduinoOTA: three authentications, the two cores' orders of answers, what comes in pieces or from strangers."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.base import (
    BadImage,
    Category,
    ConnectionLost,
    DeviceError,
    FlashFailed,
    Link,
    NetworkFailed,
    VerificationFailed,
)
from drivers.ota.arduino import ARDUINO_OTA, ArduinoOptions
from drivers.ota.arduino_protocol import Said, Scheme, parse_answer, response, words
from drivers.ota.errors import AccessDenied
from drivers.virtual.spec import LineDrop
from tests.drivers.ota.on_bench import (
    NEW,
    OLD,
    PASSWORD,
    PASSWORD_VARIABLE,
    STATUS,
    console_until,
    everything_said,
    ignore,
    image,
    on_bench,
)

WITH_PASSWORD = {**STATUS, "password": {"env": PASSWORD_VARIABLE}}
AUTHENTICATIONS = {
    "md5": {"authentication": "md5"},
    "sha256": {"authentication": "sha256"},
    "sha256 of a stored md5": {"authentication": "sha256", "stored_md5": True},
}


@pytest.mark.parametrize("kind", AUTHENTICATIONS)
def test_every_authentication_lets_in_who_knows_the_password(tmp_path: Path, kind: str):
    with (
        on_bench(tmp_path, "arduino-ota", WITH_PASSWORD, board=AUTHENTICATIONS[kind]) as there,
        there.session() as session,
    ):
        session.connect()
        session.write([image()], ignore)
        session.reset()
        assert NEW in console_until(session, NEW)
        assert PASSWORD not in "\n".join(there.lines)


@pytest.mark.parametrize("kind", AUTHENTICATIONS)
def test_a_wrong_password_is_denied_and_never_said(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OTHER_PASSWORD", "of another board")
    board = {**AUTHENTICATIONS[kind], "password": {"env": "OTHER_PASSWORD"}}
    with on_bench(tmp_path, "arduino-ota", WITH_PASSWORD, board=board) as there, there.session() as session:
        session.connect()
        with pytest.raises(AccessDenied) as denied:
            session.write([image()], ignore)
        assert denied.value.category is Category.PERMISSION
        assert not denied.value.retryable
        said = everything_said(denied.value, there.lines)
        assert PASSWORD not in said
        assert "of another board" not in said
        session.connect()
        assert session.revert(OLD) is True
        assert there.slot(1, 0x1000) == b"\xff" * 0x1000


def test_a_password_that_is_asked_for_and_not_there_is_denied(tmp_path: Path):
    board = {"password": {"env": PASSWORD_VARIABLE}}
    with on_bench(tmp_path, "arduino-ota", board=board) as there, there.session() as session:
        session.connect()
        with pytest.raises(AccessDenied, match="asks for a password"):
            session.write([image()], ignore)


def test_a_password_that_nobody_asks_for_is_mentioned(tmp_path: Path):
    board = {"password": None}
    with on_bench(tmp_path, "arduino-ota", WITH_PASSWORD, board=board) as there, there.session() as session:
        session.connect()
        assert "the board asks for no password, although the options have one" in there.lines
        session.write([image()], ignore)
        session.reset()
        assert NEW in console_until(session, NEW)


@pytest.mark.parametrize("board", [{}, {"password": {"env": PASSWORD_VARIABLE}}], ids=["open", "with password"])
def test_an_esp8266_is_updated_and_runs_it_from_its_one_place(tmp_path: Path, board: dict[str, Any]):
    options = {**STATUS, **board}
    with (
        on_bench(tmp_path, "arduino-ota", options, board={"chip": "esp8266"}, chip="esp8266") as there,
        there.session() as session,
    ):
        new = image(chip="esp8266")
        assert session.connect().chip == "esp8266"
        session.write([new], ignore)
        session.reset()
        assert NEW in console_until(session, NEW)
        assert there.slot(0, len(new.data)) == new.data


def test_an_esp8266_says_why_it_does_not_begin(tmp_path: Path):
    with (
        on_bench(tmp_path, "arduino-ota", board={"chip": "esp8266"}, chip="esp8266") as there,
        there.session() as session,
    ):
        session.connect()
        with pytest.raises(BadImage, match=r"ERROR\[4\]: Not Enough Space"):
            session.write([image(chip="esp8266", size=0x150000)], ignore)


def test_an_esp32_that_does_not_begin_is_told_from_a_firewall_by_the_advice(tmp_path: Path):
    with on_bench(tmp_path, "arduino-ota") as there, there.session(connect_timeout_s=4) as session:
        session.connect()
        with pytest.raises(NetworkFailed, match="does not fetch") as silent:
            session.write([image(size=0x150000)], ignore)
        assert "too big" in silent.value.advice
        assert "host_port" in silent.value.advice


def test_an_image_of_the_wrong_kind_is_refused_in_the_boards_words(tmp_path: Path):
    """As if `inspect` had been left out."""
    from drivers.base import Segment

    with on_bench(tmp_path, "arduino-ota") as there, there.session() as session:
        session.connect()
        with pytest.raises(BadImage, match="Wrong Magic Byte"):
            session.write([Segment(0, b"\x00" * 20_000)], ignore)
        session.connect()
        with pytest.raises(VerificationFailed, match="Could Not Activate"):
            session.write([Segment(0, image().data[:-100] + bytes(100))], ignore)
        session.connect()
        assert session.revert(OLD) is True


def test_the_port_that_boards_fetch_from_can_be_chosen(tmp_path: Path):
    with socket.socket() as ours:  # bound all the time, so that the system gives the port to nobody else
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        ours.bind(("127.0.0.1", 0))
        options = {**STATUS, "host_port": ours.getsockname()[1]}
        with on_bench(tmp_path, "arduino-ota", options) as there, there.session() as session:
            session.connect()
            for version in (NEW, "1.2.1"):
                session.write([image(version)], ignore)
                session.reset()
                assert version in console_until(session, version)
                session.connect()


def test_without_a_page_a_board_with_a_password_shows_that_it_is_back(tmp_path: Path):
    options = {"password": {"env": PASSWORD_VARIABLE}, "restart_s": 0.2}
    with on_bench(tmp_path, "arduino-ota", options) as there, there.session() as session:
        session.connect()
        session.write([image()], ignore)
        session.reset()
        assert console_until(session, "answers").count("ArduinoOTA answers") == 1
        assert there.comes_to_run(NEW)


def test_without_page_and_password_a_board_shows_after_a_failure_that_it_is_still_there(tmp_path: Path):
    with on_bench(tmp_path, "arduino-ota", {"restart_s": 0.2}) as there, there.session() as session:
        session.connect()
        session.reset()
        assert console_until(session, ".", 0.5) == ""
        there.faults(LineDrop(fault="line-drop", after_bytes=50_000, times=1))
        with pytest.raises(ConnectionLost):
            session.write([image()], ignore)
        session.connect()
        assert session.revert(None) is True
        session.reset()
        assert "ArduinoOTA answers" in console_until(session, "answers")
        session.write([image()], ignore)
        assert there.comes_to_run(NEW)


# A board of the test's own, for what the bench's does not do: answers in pieces, merged, or none at all.

Play = Callable[[socket.socket, tuple[str, int]], None]


@contextmanager
def played(
    fetch: Callable[[socket.socket], None], answers: tuple[bytes, ...] = (b"OK",), *, late_s: float = 0
) -> Iterator[str]:
    """Says `answers` to the datagrams that come, in turn, and calls back after the last."""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    udp.settimeout(30)

    def play() -> None:
        port = 0
        for answer in answers:
            try:
                text, peer = udp.recvfrom(1000)
            except OSError:
                return
            fields = text.split()
            if fields[0] == b"0" and len(fields) == 4:
                port = int(fields[1])
            time.sleep(late_s)
            if answer:
                udp.sendto(answer, peer)
        try:
            with socket.create_connection(("127.0.0.1", port), 30) as connection:
                fetch(connection)
        except OSError:
            return

    thread = threading.Thread(target=play)
    thread.start()
    try:
        yield f"net://127.0.0.1:{udp.getsockname()[1]}"
    finally:
        udp.close()
        thread.join()


def send(port: str, data: bytes, **options: Any) -> list[str]:
    from drivers.base import Segment

    lines: list[str] = []
    link = Link(
        port, 0, 0, options=ArduinoOptions(**options), connect_timeout_s=30, read_timeout_s=30, chip="arduino-ota"
    )
    session = ARDUINO_OTA.open(link, lines.append)
    try:
        session.connect()
        session.write([Segment(0, data)], ignore)
    finally:
        session.close()
    return lines


def receive(connection: socket.socket, size: int, count: Callable[[int], bytes]) -> None:
    """Answers each piece as `count` says."""
    left = size
    while left > 0 and (data := connection.recv(1460)):
        left -= len(data)
        connection.sendall(count(len(data)) if left else b"")


def test_an_ok_in_one_piece_with_the_last_count_is_an_ok():
    def fetch(connection: socket.socket) -> None:
        receive(connection, 5000, lambda size: str(size).encode())
        connection.sendall(b"904OK")

    with played(fetch) as port:
        assert any(line.endswith("says OK") for line in send(port, bytes(5000)))


def test_an_ok_letter_by_letter_is_an_ok():
    def fetch(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        receive(connection, 5000, lambda size: str(size).encode())
        for letter in b"904OK":
            connection.sendall(bytes([letter]))
            threading.Event().wait(0.02)

    with played(fetch) as port:
        assert any("says OK" in line for line in send(port, bytes(5000)))


def test_a_count_that_an_esp32_repeats_is_no_answer_to_the_next_piece_that_matters():
    def fetch(connection: socket.socket) -> None:
        receive(connection, 5000, lambda size: f"{size}{size}{size}".encode())
        connection.sendall(b"904")
        connection.sendall(b"OK")

    with played(fetch) as port:
        assert any("says OK" in line for line in send(port, bytes(5000)))


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (b"904Flash Write Failed\r\n", FlashFailed),
        (b"904ERROR[7]: MD5 verification failed: expected: a, calculated: b\n", VerificationFailed),
        (b"904", ConnectionLost),
        (b"", ConnectionLost),
    ],
)
def test_what_is_no_ok_is_no_success(said: bytes, kind: type[DeviceError]):
    """espota.py takes any answer for a success."""

    def fetch(connection: socket.socket) -> None:
        receive(connection, 5000, lambda size: str(size).encode())
        connection.sendall(said)

    with played(fetch) as port, pytest.raises(kind):
        send(port, bytes(5000))


def test_lost_datagrams_are_sent_again():
    def fetch(connection: socket.socket) -> None:
        receive(connection, 500, lambda size: b"")
        connection.sendall(b"500OK")

    with played(fetch, (b"", b"OK")) as port:
        send(port, bytes(500))


def test_a_sketch_that_looks_after_its_datagrams_now_and_then_is_seen_to_be_back():
    options = ArduinoOptions.model_validate({"password": {"env": PASSWORD_VARIABLE}})
    with played(lambda _connection: None, (b"AUTH " + b"a" * 64,), late_s=0.6) as port:
        session = ARDUINO_OTA.open(Link(port, 0, 0, options=options), lambda _line: None)
        assert "ArduinoOTA answers" in session.read_console(0.1).decode()


def test_somebody_who_was_not_invited_gets_nothing(tmp_path: Path):
    """The first to call is another machine (another loopback address): it is closed, the board is served."""
    got: list[bytes] = []

    def fetch(connection: socket.socket) -> None:
        receive(connection, 500, lambda size: b"")
        connection.sendall(b"500OK")

    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    udp.settimeout(30)

    def play() -> None:
        text, peer = udp.recvfrom(1000)
        at = ("127.0.0.1", int(text.split()[1]))
        udp.sendto(b"OK", peer)
        with socket.create_connection(at, 30, source_address=("127.0.0.2", 0)) as stranger:
            got.append(stranger.recv(10))
        with socket.create_connection(at, 30) as connection:
            fetch(connection)

    thread = threading.Thread(target=play)
    thread.start()
    try:
        lines = send(f"net://127.0.0.1:{udp.getsockname()[1]}", bytes(500))
    finally:
        udp.close()
        thread.join()
    assert got == [b""]
    assert "a connection from 127.0.0.2, which was not invited, is closed" in lines


def test_the_answers_to_a_nonce_are_those_that_espota_gives():
    """Worked out by hand after arduino-esp32's tools/espota.py, with its own hash calls."""
    import hashlib

    nonce, seed = "0" * 32, b"seed"
    cnonce = hashlib.md5(seed).hexdigest()
    kept = hashlib.md5(b"secret").hexdigest()
    wanted = hashlib.md5(f"{kept}:{nonce}:{cnonce}".encode()).hexdigest()
    assert response(Scheme.MD5, "secret", nonce, seed) == f"200 {cnonce} {wanted}\n".encode()
    nonce = "a" * 64
    cnonce = hashlib.sha256(seed).hexdigest()
    for scheme, digest in ((Scheme.SHA256, hashlib.sha256), (Scheme.SHA256_OF_MD5, hashlib.md5)):
        kept = digest(b"secret").hexdigest()
        key = hashlib.pbkdf2_hmac("sha256", kept.encode(), f"{nonce}:{cnonce}".encode(), 10000).hex()
        wanted = hashlib.sha256(f"{key}:{nonce}:{cnonce}".encode()).hexdigest()
        assert response(scheme, "secret", nonce, seed) == f"200 {cnonce} {wanted}\n".encode()


@given(st.binary(max_size=200))
def test_any_datagram_is_an_answer_of_one_kind(data: bytes):
    answer = parse_answer(data)
    assert (answer.said is Said.AUTHENTICATE) == (len(answer.text) in (32, 64) and data.startswith(b"AUTH "))


@given(st.lists(st.integers(0, 99999).map(lambda size: str(size).encode())), st.sampled_from([b"OK", b"", b"Wrong"]))
def test_counts_of_any_number_hide_no_words(counts: list[bytes], said: bytes):
    assert words(b"".join(counts) + said) == said.decode()


@settings(max_examples=40)
@given(st.one_of(st.binary(max_size=300), st.sampled_from([b"500OK", b"500", b"500O", b"OK500"])))
def test_any_bytes_from_the_board_end_in_an_ok_or_a_device_error(data: bytes):
    def fetch(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(data)

    with played(fetch) as port:
        if words(data).startswith("OK"):
            send(port, bytes(500))
        else:
            with pytest.raises(DeviceError):
                send(port, bytes(500))


def test_a_page_is_looked_for_at_the_web_servers_usual_port_first(tmp_path: Path):
    with on_bench(tmp_path, "arduino-ota") as there, there.session() as session:
        session.connect()
        assert session.installed_version(0) == OLD
        assert any("127.0.0.1/version" in line for line in there.lines)
    nowhere = {**STATUS, "version_port": 9}
    with (
        on_bench(tmp_path, "arduino-ota", nowhere) as there,
        there.session() as session,
        pytest.raises(NetworkFailed, match=":9/version"),
    ):
        session.connect()
