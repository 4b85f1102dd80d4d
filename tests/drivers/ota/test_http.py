"""Updates by a web page: each updater's ways, passwords, certificates, redirects, and answers that do not come."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from drivers.base import (
    BadImage,
    Category,
    ConnectionLost,
    DeviceError,
    Link,
    NetworkFailed,
    Segment,
    VerificationFailed,
)
from drivers.ota.errors import AccessDenied, NoUpdater, UntrustedServer, quoted
from drivers.ota.http import HTTP_OTA, HttpOptions
from drivers.ota.status import parse
from drivers.ota.updaters import UPDATERS, UpdaterName, judge
from drivers.virtual.spec import WrongMd5
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

CREDENTIALS = {"username": "admin", "password": {"env": PASSWORD_VARIABLE}}
every_updater = pytest.mark.parametrize("updater", [name.value for name in UpdaterName])


def chip_of(updater: str) -> str:
    return "esp8266" if updater == "esp8266" else "esp32"


@every_updater
@pytest.mark.parametrize("scheme", ["open", "basic", "digest"])
def test_every_updater_takes_an_image(tmp_path: Path, updater: str, scheme: str):
    options = {**STATUS, "updater": updater, **({} if scheme == "open" else CREDENTIALS)}
    board = {} if scheme == "open" else {"authentication": scheme}
    new = image(chip=chip_of(updater))
    with (
        on_bench(tmp_path, "http-ota", options, board=board, chip=chip_of(updater)) as there,
        there.session() as session,
    ):
        session.connect()
        session.write([new], ignore)
        session.reset()
        assert NEW in console_until(session, NEW)
        assert there.slot(0 if updater == "esp8266" else 1, len(new.data)) == new.data
        assert PASSWORD not in "\n".join(there.lines)


@every_updater
@pytest.mark.parametrize("scheme", ["basic", "digest"])
def test_a_wrong_password_is_denied_and_never_said(
    tmp_path: Path, updater: str, scheme: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OTHER_PASSWORD", "of another board")
    options = {**STATUS, "updater": updater, **CREDENTIALS}
    board = {"authentication": scheme, "password": {"env": "OTHER_PASSWORD"}}
    with (
        on_bench(tmp_path, "http-ota", options, board=board, chip=chip_of(updater)) as there,
        there.session() as session,
    ):
        with pytest.raises(AccessDenied) as denied:
            session.connect()
        assert denied.value.category is Category.PERMISSION
        assert not denied.value.retryable
        said = everything_said(denied.value, there.lines)
        assert PASSWORD not in said
        assert "of another board" not in said
        assert base64.b64encode(f"admin:{PASSWORD}".encode()).decode() not in said


@every_updater
def test_a_password_that_is_asked_for_and_not_there_is_denied(tmp_path: Path, updater: str):
    options = {**STATUS, "updater": updater}
    with (
        on_bench(tmp_path, "http-ota", options, board=CREDENTIALS, chip=chip_of(updater)) as there,
        there.session() as session,
        pytest.raises(AccessDenied, match="asks for"),
    ):
        session.connect()


@every_updater
def test_a_board_that_restarts_before_it_answers_is_judged_by_its_page(tmp_path: Path, updater: str):
    options = {**STATUS, "updater": updater}
    with (
        on_bench(tmp_path, "http-ota", options, board={"answers": False}, chip=chip_of(updater)) as there,
        there.session() as session,
    ):
        session.connect()
        session.write([image(chip=chip_of(updater))], ignore)
        assert "no answer to the upload; the status page decides" in there.lines
        session.reset()
        assert NEW in console_until(session, NEW)


def test_without_a_page_nobody_knows_what_became_of_an_upload(tmp_path: Path):
    options = {"updater": "esp32", "restart_s": 0.2}
    with on_bench(tmp_path, "http-ota", options, board={"answers": False}) as there, there.session() as session:
        session.connect()
        with pytest.raises(ConnectionLost, match="without a word") as lost:
            session.write([image()], ignore)
        assert "version_path" in lost.value.advice
        assert there.comes_to_run(NEW)


def test_an_esp32_that_is_asked_as_if_it_were_an_esp8266_misses_the_origin(tmp_path: Path):
    options = {**STATUS, "updater": "esp8266"}
    with on_bench(tmp_path, "http-ota", options, board={"updater": "esp32"}) as there, there.session() as session:
        session.connect()
        with pytest.raises(NoUpdater, match="Wrong origin"):
            session.write([image()], ignore)
        session.connect()
        assert session.revert(OLD) is True


@pytest.mark.parametrize(
    ("asked", "there_is", "kind"),
    [
        ("elegant3", "esp32", NoUpdater),
        ("esp32", "elegant3", NoUpdater),
        ("esp32", "elegant", NoUpdater),
    ],
)
def test_the_wrong_updater_writes_nothing(tmp_path: Path, asked: str, there_is: str, kind: type[DeviceError]):
    options = {**STATUS, "updater": asked}
    with on_bench(tmp_path, "http-ota", options, board={"updater": there_is}) as there, there.session() as session:
        session.connect()
        with pytest.raises(kind):
            session.write([image()], ignore)
        assert there.slot(1, 0x1000) == b"\xff" * 0x1000
        assert there.what_runs() == OLD


def test_errors_that_come_with_http_200_are_errors(tmp_path: Path):
    with on_bench(tmp_path, "http-ota", {**STATUS, "updater": "esp32"}) as there, there.session() as session:
        session.connect()
        with pytest.raises(BadImage, match="Wrong Magic Byte"):
            session.write([Segment(0, b"\x7fELF" * 5000)], ignore)
        session.connect()
        with pytest.raises(BadImage, match="Not Enough Space"):
            session.write([image(size=0x150000)], ignore)
        session.connect()
        assert session.revert(OLD) is True


def test_path_and_field_can_be_others(tmp_path: Path):
    options = {**STATUS, "updater": "esp32", "path": "/admin/ota", "field": "update"}
    with on_bench(tmp_path, "http-ota", options) as there, there.session() as session:
        session.connect()
        session.write([image()], ignore)
        session.reset()
        assert NEW in console_until(session, NEW)


# Certificates


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def certificates(authority: trustme.CA, tmp_path: Path) -> dict[str, str]:
    """PEM files: the authority's, another one's, and the board's for its address."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "other-ca.pem"))
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "board.pem"))
    authority.issue_cert("board.example").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "stranger.pem"))
    return {path.stem: str(path) for path in tmp_path.glob("*.pem")}


def test_a_board_with_a_good_certificate_is_updated(tmp_path: Path, certificates: dict[str, str]):
    options = {**STATUS, "tls": True, "ca_file": certificates["ca"], **CREDENTIALS, "updater": "elegant3"}
    board = {"certificate": certificates["board"]}
    with on_bench(tmp_path, "http-ota", options, board=board) as there, there.session() as session:
        session.connect()
        session.write([image()], ignore)
        session.reset()
        assert NEW in console_until(session, NEW)


@pytest.mark.parametrize(
    ("ca_file", "shown"), [("other-ca", "board"), ("ca", "stranger"), (None, "board")], ids=["ca", "name", "system"]
)
def test_a_certificate_that_can_not_be_trusted_gets_no_password(
    tmp_path: Path, certificates: dict[str, str], ca_file: str | None, shown: str
):
    options = {**STATUS, "tls": True, **CREDENTIALS}
    if ca_file is not None:
        options["ca_file"] = certificates[ca_file]
    board = {"certificate": certificates[shown]}
    with on_bench(tmp_path, "http-ota", options, board=board) as there, there.session() as session:
        with pytest.raises(UntrustedServer, match="certificate") as refused:
            session.connect()
        assert refused.value.category is Category.NETWORK
        assert not refused.value.retryable
        assert PASSWORD not in everything_said(refused.value, there.lines)


def test_a_board_without_tls_is_no_board_with_tls(tmp_path: Path):
    options = {**STATUS, "tls": True}
    with (
        on_bench(tmp_path, "http-ota", options, shared=False) as there,
        there.session() as session,
        pytest.raises(NetworkFailed),
    ):
        session.connect()


def test_a_missing_authority_is_said(tmp_path: Path):
    options = {**STATUS, "tls": True, "ca_file": str(tmp_path / "nowhere.pem")}
    with (
        on_bench(tmp_path, "http-ota", options, shared=False) as there,
        there.session() as session,
        pytest.raises(UntrustedServer, match=r"nowhere\.pem"),
    ):
        session.connect()


# A server of the test's own


@contextmanager
def played(*answers: bytes | Callable[[], bytes]) -> Iterator[tuple[str, list[bytes]]]:
    """Gives these answers, one a connection, each after it has read a request; what it read is in the list."""
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(30)
    read: list[bytes] = []

    def play() -> None:
        for answer in answers:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(30)
                read.append(_request(connection))
                with contextlib.suppress(ConnectionError):  # who has read enough goes
                    connection.sendall(answer() if callable(answer) else answer)

    thread = threading.Thread(target=play)
    thread.start()
    try:
        yield f"net://127.0.0.1:{server.getsockname()[1]}", read
    finally:
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)  # wakes the thread
        server.close()
        thread.join()


def _request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(0x10000)
        if not more:
            return data
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0
    )
    while len(body) < length:
        more = connection.recv(0x10000)
        if not more:
            break
        body += more
    return head + b"\r\n\r\n" + body


def answer(status: str, body: bytes = b"", *headers: str) -> bytes:
    head = "\r\n".join((f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers))
    return f"{head}\r\n\r\n".encode() + body


PAGE = answer("200 OK", b"<form>")


def update(port: str, **options: Any) -> list[str]:
    lines: list[str] = []
    link = Link(port, 0, 0, options=HttpOptions(**options), connect_timeout_s=30, read_timeout_s=30)
    session = HTTP_OTA.open(link, lines.append)
    try:
        session.connect()
        session.write([Segment(0, b"\xe9" + bytes(5000))], ignore)
    finally:
        session.close()
    return lines


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"])
def test_a_redirect_is_told_and_not_followed(status: str):
    with played(answer(status, b"", "Location: https://elsewhere.example/update")) as (port, read):
        with pytest.raises(NoUpdater, match=r"redirects to https://elsewhere\.example/update"):
            update(port)
        assert len(read) == 1


@pytest.mark.parametrize("status", ["302 Found", "307 Temporary Redirect"])
def test_an_upload_that_is_redirected_to_another_host_is_not_sent_there(status: str):
    with (
        played(PAGE, answer(status, b"", "Location: http://192.0.2.1/update")) as (port, _read),
        pytest.raises(NoUpdater, match=r"192\.0\.2\.1"),
    ):
        update(port)


def test_an_outcome_on_another_page_of_the_board_is_read_there():
    with played(PAGE, answer("303 See Other", b"", "Location: /done"), answer("200 OK", b"Update Success!")) as (
        port,
        read,
    ):
        assert any("Update Success" in line for line in update(port))
        assert read[2].startswith(b"GET /done HTTP/1.1\r\n")


def test_a_page_that_is_not_there_leaves_it_to_the_upload():
    with played(answer("404 Not Found"), answer("200 OK", b"OK")) as (port, read):
        lines = update(port, updater="elegant", md5=False, field="update")
        assert any("no page at /update" in line for line in lines)
        assert b'name="update"; filename="firmware.bin"' in read[1]
        assert b'name="MD5"' not in read[1]


def test_an_upload_names_host_and_origin_as_a_browser_would():
    with played(PAGE, answer("200 OK", b"Update Success! Rebooting...")) as (port, read):
        update(port, updater="esp32")
        host = port.removeprefix("net://")
        assert f"\r\nHost: {host}\r\n".encode() in read[1]
        assert f"\r\nOrigin: http://{host}\r\n".encode() in read[1]


def test_the_md5_comes_before_the_file():
    with played(PAGE, answer("200 OK", b"OK")) as (port, read):
        update(port, updater="elegant")
        assert 0 < read[1].index(b'name="MD5"') < read[1].index(b"filename=")


def test_an_upload_that_is_asked_for_a_password_only_then_is_sent_again():
    challenge = answer("401 Unauthorized", b"", 'WWW-Authenticate: Basic realm="x"')
    with played(PAGE, challenge, answer("200 OK", b"Update Success!")) as (port, read):
        update(port, username="admin", password={"env": PASSWORD_VARIABLE})
        assert b"uthorization: Basic" not in read[1]
        assert b"uthorization: Basic" in read[2]


def test_the_time_for_the_restart_counts_from_the_boards_word_on_the_image():
    """It may check a large one for seconds; until it restarts, the page is the old firmware's."""
    old, new = (answer("200 OK", f'{{"version": "{version}"}}'.encode()) for version in (OLD, NEW))

    def late() -> bytes:
        time.sleep(3.2)
        return answer("200 OK", b"Update Success! Rebooting...")

    with played(PAGE, old, late, old, new) as (port, _read):
        link = Link(port, 0, 0, options=HttpOptions(version_path="/", restart_s=3))
        session = HTTP_OTA.open(link, lambda _line: None)
        session.connect()
        session.write([Segment(0, b"\xe9" + bytes(5000))], ignore)
        session.reset()
        assert OLD not in console_until(session, NEW)


def test_a_board_whose_page_takes_its_time_is_seen_and_not_taken_for_gone():
    """A sketch looks after its web server when it comes to it (`handleClient`)."""

    def slow(version: str) -> Callable[[], bytes]:
        def answered() -> bytes:
            time.sleep(1.3)
            return answer("200 OK", f'{{"version": "{version}"}}'.encode())

        return answered

    pages = (slow(NEW) for _ in range(4))
    with played(PAGE, slow(OLD), answer("200 OK", b"Update Success!"), *pages) as (port, _read):
        link = Link(port, 0, 0, options=HttpOptions(version_path="/", restart_s=0))
        session = HTTP_OTA.open(link, lambda _line: None)
        session.connect()
        session.write([Segment(0, b"\xe9" + bytes(5000))], ignore)
        session.reset()
        assert NEW in console_until(session, NEW)
        assert [session.read_console(0.2) for _ in range(3)] == [b""] * 3


def test_no_proxy_of_the_environment_sees_the_firmware(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    with played(PAGE, answer("200 OK", b"Update Success!")) as (port, _read):
        update(port)


def test_an_answer_that_no_updater_gives_is_no_success():
    with (
        played(PAGE, answer("200 OK", b"<html>Welcome</html>")) as (port, _read),
        pytest.raises(ConnectionLost, match="Welcome"),
    ):
        update(port)


def test_a_page_without_end_is_not_read_without_end():
    endless = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * 10_000_000
    with played(PAGE, endless) as (port, _read), pytest.raises(ConnectionLost):
        update(port)


@pytest.mark.parametrize(
    "options",
    [
        {"username": "admin"},
        {"password": {"env": "X"}},
        {"ca_file": "ca.pem"},
        {"version_path": "version"},
        {"version_path": "/a b"},
        {"version_pattern": "("},
        {"version_pattern": "no group"},
        {"updater": "tasmota"},
        {"password": "in clear", "username": "admin"},
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any]):
    with pytest.raises(ValidationError):
        HttpOptions.model_validate(options)


@pytest.mark.parametrize(
    ("body", "pattern", "version", "mac", "chip"),
    [
        (
            '{"version": "1.2.0", "MAC": "24-0A-C4-12-34-56", "chip": "ESP32-S3"}',
            None,
            "1.2.0",
            "24:0a:c4:12:34:56",
            "esp32s3",
        ),
        (
            "name: demo\r\nVersion: 1.2.0\r\nmac=240ac4123456\r\nchip: ESP32-D0WD-V3",
            None,
            "1.2.0",
            "24:0a:c4:12:34:56",
            "esp32",
        ),
        ("chip: ESP32-C6FH4", None, None, None, "esp32c6"),
        ("chip: ESP32-C61", None, None, None, "esp32c61"),
        ('{"StatusFWR": {"Version": "14.1.0(tasmota)"}}', r'"Version":\s*"([^"(]+)', "14.1.0", None, None),
        ("<h1>Firmware v2.0 of today</h1>", r"Firmware v(\S+)", "2.0", None, None),
        ('{"version": 12, "mac": "unknown"}', None, None, None, None),
        ("", None, None, None, None),
        ("[" * 100_000, None, None, None, None),
    ],
)
def test_pages_of_many_forms_are_understood(
    body: str, pattern: str | None, version: str | None, mac: str | None, chip: str | None
):
    found = parse(body, pattern)
    assert (found.version, found.mac, found.chip) == (version, mac, chip)


def test_a_newer_version_that_a_page_names_is_not_taken_for_the_one_that_runs():
    assert NEW not in parse('{"version": "1.1.0", "available": "1.2.0"}').shown
    assert NEW in parse("firmware 1.2.0 runs").shown


@given(st.text(max_size=2000))
def test_any_page_is_understood_or_says_nothing(body: str):
    found = parse(body)
    assert found.text == body
    assert found.mac is None or len(found.mac) == 17


@pytest.mark.parametrize(
    ("updater", "status", "text", "taken", "refused"),
    [
        (UpdaterName.ELEGANT, 200, "Update Success! Rebooting...", True, ""),  # ElegantOTA 2 on an ESP8266
        (UpdaterName.ELEGANT, 500, "FAIL", False, "FAIL"),
        (UpdaterName.ESP8266, 200, "Update Failed!", False, "Update Failed!"),  # ESPHome's web_server
        (UpdaterName.ESP32, 502, "<h1>Bad Gateway</h1>", False, ""),  # the board may have restarted with the update
    ],
)
def test_what_an_answer_means(updater: UpdaterName, status: int, text: str, taken: bool, refused: str):
    verdict = judge(UPDATERS[updater], status, text)
    assert (verdict.taken, verdict.refused) == (taken, refused)


@pytest.mark.parametrize("updater", ["elegant", "elegant3"])
@pytest.mark.parametrize("checks", [False, True])
def test_only_a_batch_that_says_so_has_boards_that_check_the_md5(tmp_path: Path, updater: str, checks: bool):
    """The libraries' releases forget it before they begin."""
    options = {**STATUS, "updater": updater, **({"md5": True} if checks else {})}
    with on_bench(tmp_path, "http-ota", options) as there, there.session() as session:
        session.connect()
        there.faults(WrongMd5(fault="wrong-md5", times=1))
        if checks:
            with pytest.raises(VerificationFailed):
                session.write([image()], ignore)
        else:
            session.write([image()], ignore)
            assert session.holds(image()) is None


@given(st.sampled_from(list(UPDATERS.values())), st.integers(100, 599), st.text(max_size=500))
def test_no_answer_is_both_taken_and_refused(updater: Any, status: int, text: str):
    verdict = judge(updater, status, text)
    assert not (verdict.taken and verdict.refused)
    assert not verdict.taken or 200 <= status < 300


@given(st.text(max_size=3000))
def test_quotes_are_short_and_in_one_line(text: str):
    assert len(quoted(text)) <= 201
    assert "\n" not in quoted(text)


@settings(max_examples=40)
@given(st.one_of(st.binary(max_size=300), st.binary(max_size=200).map(lambda data: b"HTTP/1.1 200 OK\r\n" + data)))
def test_any_bytes_from_the_server_end_in_a_device_error_or_an_answer(data: bytes):
    with played(data, data, data) as (port, _read):
        link = Link(port, 0, 0, options=HttpOptions(), connect_timeout_s=30, read_timeout_s=30)
        session = HTTP_OTA.open(link, lambda _line: None)
        try:
            session.connect()
        except DeviceError as error:
            assert error.message  # noqa: PT017
        finally:
            session.close()
