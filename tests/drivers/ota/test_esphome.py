"""The ESPHome driver on virtual boards: both versions, both authentications, each fault; no secret in a message."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import pytest

from drivers.base import (
    BadImage,
    BootFailed,
    Category,
    ConnectionLost,
    DeviceError,
    FlashFailed,
    Link,
    NetworkFailed,
    PhaseTimeout,
    Segment,
    VerificationFailed,
)
from drivers.ota.errors import AccessDenied
from drivers.ota.esphome import ESPHOME, EsphomeOptions, EsphomeSession
from drivers.ota.esphome_protocol import REFUSALS, refusal
from drivers.virtual.client import Bench
from drivers.virtual.esp.firmware import build_app, build_bootloader
from drivers.virtual.spec import (
    BenchSpec,
    BitErrors,
    BoardSpec,
    LineDrop,
    Panics,
    PowerLoss,
    SilentLine,
    SlowErase,
    WrongMd5,
)
from harness.deadline import limit

SECRET = "correct horse"
OLD = build_app("esp32", "factory", "0.0.0")
NEW = Segment(0, build_app("esp32", "demo", "1.2.0"), "demo.bin")
PAGE = {"version_path": "/version", "restart_s": 0.5}
BOARDS = {
    "PLAIN": {},
    "SHA": {"password": {"env": "BENCH_PASSWORD"}},
    "MD5": {"password": {"env": "BENCH_PASSWORD"}, "authentication": "md5", "extended": False},
    "V1": {"protocol": 1, "extended": False},
    "8266": {"chip": "esp8266"},
    "NOISE": {"encrypted": True},
    "BACK": {"auto_rollback": True},
}
Open = Callable[..., EsphomeSession]


def ignore(_done: int, _total: int) -> None:
    pass


@pytest.fixture
def board() -> str:
    """The one that a test is about; a test's own parameter takes its place."""
    return "PLAIN"


@pytest.fixture
def bench(board: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setenv("BENCH_PASSWORD", SECRET)
    monkeypatch.setenv("RIGHT", SECRET)
    monkeypatch.setenv("WRONG", "battery staple")
    spec = BoardSpec(board_id=board, chip="esphome", options=BOARDS[board])
    with Bench.start(BenchSpec(state=tmp_path, boards=(spec,))) as running:
        yield running


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def opened(bench: Bench, board: str, lines: list[str]) -> Open:
    def make(
        password: str = "",
        host: str = "",
        read_s: float = 30,
        connect_s: float = 30,
        *,
        untouched: bool = True,
        **options: object,
    ):
        url = f"net://{host or bench.boards[board].host}"
        secret = {"password": {"env": password}} if password else {}
        chosen = EsphomeOptions.model_validate({**PAGE, **secret, **options})
        link = Link(
            url,
            115200,
            115200,
            options=chosen,
            connect_timeout_s=connect_s,
            read_timeout_s=read_s,
            untouched=untouched,
        )
        return ESPHOME.open(link, lines.append)

    return make


@pytest.fixture
def session(opened: Open) -> EsphomeSession:
    one = opened()
    one.connect()
    return one


def slot(tmp_path: Path, number: int, board: str = "PLAIN") -> bytes:
    return (tmp_path / board / f"slot{number}.bin").read_bytes()


def console(session: EsphomeSession, until: str) -> str:
    said = ""
    with limit(30, f"{until!r} on the console"):
        while until not in said:
            said += session.read_console(0.2).decode()
    return said


@pytest.mark.parametrize(("board", "password"), [("PLAIN", ""), ("SHA", "RIGHT"), ("MD5", "RIGHT"), ("V1", "")])
def test_a_board_is_updated_and_restarts_with_the_new_firmware(board, password, opened: Open, tmp_path: Path, lines):
    session = opened(password)
    session.connect()
    assert session.installed_version(0) == "0.0.0"
    seen: list[tuple[int, int]] = []
    session.write([NEW], lambda *step: seen.append(step))
    assert seen[-1] == (len(NEW.data), len(NEW.data))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert session.holds(NEW) is True, "the board has checked its MD5"
    session.reset()
    assert "1.2.0" in console(session, "1.2.0")
    session.confirm()
    assert slot(tmp_path, 1, board).startswith(NEW.data)
    assert slot(tmp_path, 0, board).startswith(OLD), "what ran before is beside it"
    assert not [line for line in lines if SECRET in line]


@pytest.mark.parametrize("board", ["8266"])
def test_an_esp8266_is_given_what_it_can_unpack(opened: Open, tmp_path: Path, lines: list[str]):
    image = build_app("esp8266", "demo", "1.2.0")
    session = opened()
    session.connect()
    session.write([Segment(0, image, "demo.bin")], ignore)
    assert any("compressed to" in line for line in lines)
    session.reset()
    console(session, "1.2.0")
    assert slot(tmp_path, 0, "8266").startswith(image), "its boot loader has unpacked it over the old one"


@pytest.mark.parametrize("board", ["SHA", "MD5"])
def test_a_wrong_password_is_refused_before_anything_else_and_shown_nowhere(board, opened: Open, tmp_path, lines):
    before = slot(tmp_path, 1, board)
    with pytest.raises(AccessDenied, match="does not accept the password") as raised:
        opened("WRONG").connect()
    with pytest.raises(AccessDenied, match="asks for a password, and the options have none"):
        opened().connect()
    assert raised.value.category is Category.PERMISSION
    assert not raised.value.retryable
    said = f"{raised.value} {raised.value.advice} {raised.value.__cause__} {lines}"
    assert "battery" not in said
    assert SECRET not in said
    assert slot(tmp_path, 1, board) == before


@pytest.mark.parametrize("board", ["NOISE"])
def test_a_board_that_wants_encryption_says_so(opened: Open):
    with pytest.raises(AccessDenied, match="encrypted updates only"):
        opened().connect()


def test_without_a_status_page_the_updater_is_the_sign_of_life_and_the_version_is_not_known(opened: Open, tmp_path):
    session = opened(version_path=None)
    session.connect()
    assert session.installed_version(0) is None
    session.write([NEW], ignore)
    session.reset()
    console(session, "version is not known")
    assert slot(tmp_path, 1).startswith(NEW.data)
    session.connect()
    assert session.revert("0.0.0") is False, "nobody knows what runs"


def test_firmware_that_crashes_is_never_seen_to_run(bench: Bench, session: EsphomeSession):
    bench.set_faults("PLAIN", [Panics(fault="panics", versions=("1.2.0",))])
    session.write([NEW], ignore)
    session.reset()
    said = b""
    for _ in range(10):
        said += session.read_console(0.2)
    assert b"1.2.0" not in said


def test_without_a_status_page_firmware_that_crashes_is_not_taken_for_started(bench: Bench, opened: Open):
    bench.set_faults("PLAIN", [Panics(fault="panics", versions=("1.2.0",))])
    session = opened(version_path=None, connect_s=4)
    session.connect()
    session.write([NEW], ignore)
    with limit(30, "the restart"), pytest.raises(BootFailed, match=r"has not answered for 4\.5 s"):
        session.reset()


@pytest.mark.parametrize("board", ["BACK"])
def test_a_boot_loader_that_goes_back_is_seen_to(bench: Bench, opened: Open, tmp_path: Path):
    bench.set_faults("BACK", [Panics(fault="panics", versions=("1.2.0",))])
    session = opened()
    session.connect()
    session.write([NEW], ignore)
    session.reset()
    console(session, "0.0.0")
    session.connect()
    assert session.revert("0.0.0") is True
    assert slot(tmp_path, 0, "BACK").startswith(OLD)


def test_a_cut_in_the_middle_leaves_the_old_firmware_running(bench: Bench, session: EsphomeSession, tmp_path: Path):
    before = slot(tmp_path, 0)
    bench.set_faults("PLAIN", [PowerLoss(fault="power-loss", at_byte=50_000, off_s=0.2)])
    with pytest.raises(DeviceError) as raised:
        session.write([NEW], ignore)
    assert raised.value.category in (Category.CONNECTION, Category.NETWORK)
    assert raised.value.retryable
    assert slot(tmp_path, 1)[:50_000] == NEW.data[:50_000]
    session.connect()
    assert session.revert("0.0.0") is True
    assert slot(tmp_path, 0) == before
    session.write([NEW], ignore)
    session.reset()
    console(session, "1.2.0")


def test_without_a_status_page_an_upload_that_broke_off_says_nothing_of_those_before_it(bench: Bench, opened: Open):
    """The board runs a firmware that was judged bad; the way back breaks off. What ran before is not what runs on."""
    drop = [LineDrop(fault="line-drop", after_bytes=40_000, times=1)]
    session = opened(version_path=None)
    session.connect()
    assert session.installed_version(0) is None
    bench.set_faults("PLAIN", drop)
    with pytest.raises(ConnectionLost):
        session.write([NEW], ignore)
    session.connect()
    assert session.revert(None) is True, "nothing was ever sent whole"
    session.write([NEW], ignore)
    session.reset()
    session.connect()
    bench.set_faults("PLAIN", drop)
    with pytest.raises(ConnectionLost):
        session.write([Segment(0, OLD, "backup")], ignore)
    session.connect()
    assert session.revert(None) is False
    later = opened(version_path=None, untouched=False)
    later.connect()
    bench.set_faults("PLAIN", drop)
    with pytest.raises(ConnectionLost):
        later.write([Segment(0, OLD, "backup")], ignore)
    later.connect()
    assert later.revert(None) is False, "who takes a run up again knows nothing of what was written before"


def test_a_line_that_drops_is_a_lost_connection_and_the_next_try_succeeds(bench, session: EsphomeSession):
    bench.set_faults("PLAIN", [LineDrop(fault="line-drop", after_bytes=40_000, times=1)])
    with pytest.raises(ConnectionLost):
        session.write([NEW], ignore)
    with pytest.raises(ConnectionLost, match="connect first"):
        session.write([NEW], ignore)
    session.connect()
    session.write([NEW], ignore)
    session.reset()
    console(session, "1.2.0")


@pytest.mark.parametrize("board", ["PLAIN", "8266"])
def test_a_digest_that_differs_fails_the_write_and_what_ran_runs_on(board, bench: Bench, opened: Open, tmp_path: Path):
    chip = "esp8266" if board == "8266" else "esp32"
    before = slot(tmp_path, 0, board)
    session = opened()
    session.connect()
    bench.set_faults(board, [WrongMd5(fault="wrong-md5")])
    with pytest.raises(VerificationFailed, match="MD5") as raised:
        session.write([Segment(0, build_app(chip, "demo", "1.2.0"), "demo.bin")], ignore)
    assert raised.value.retryable
    session.connect()
    assert session.revert("0.0.0") is True
    assert slot(tmp_path, 0, board) == before


def test_bit_errors_end_as_errors_never_as_another_firmware(bench: Bench, opened: Open, tmp_path: Path):
    bench.set_faults("PLAIN", [BitErrors(fault="bit-errors", rate=0.0001)])
    session = opened(read_s=3, version_path=None)
    for _ in range(3):
        try:
            session.connect()
            session.write([NEW], ignore)
        except DeviceError:
            continue
        assert slot(tmp_path, 1).startswith(NEW.data)
    assert slot(tmp_path, 0).startswith(OLD)


def test_a_slow_erasure_is_waited_for(bench: Bench, session: EsphomeSession):
    bench.set_faults("PLAIN", [SlowErase(fault="slow-erase", seconds=2, times=1)])
    session.write([NEW], ignore)
    session.reset()
    console(session, "1.2.0")


def test_a_silent_board_is_a_timeout_and_retryable(bench: Bench, opened: Open):
    bench.set_faults("PLAIN", [SilentLine(fault="silent")])
    with limit(30, "connecting"), pytest.raises(PhaseTimeout) as raised:
        opened(read_s=1).connect()
    assert raised.value.retryable


def test_nobody_at_the_port_is_a_network_error(opened: Open):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(NetworkFailed, match="refused"):
            opened(host=f"127.0.0.1:{taken.getsockname()[1]}").connect()


def test_a_time_limit_passes_through_and_leaves_nothing_alive(bench: Bench, session: EsphomeSession):
    bench.set_faults("PLAIN", [SilentLine(fault="silent")])
    before = sorted(Path("/proc/self/fd").iterdir())
    with pytest.raises(PhaseTimeout), limit(0.3, "the update"):
        session.write([NEW], ignore)
    assert sorted(Path("/proc/self/fd").iterdir()) == before
    with pytest.raises(ConnectionLost, match="connect first"):
        session.write([NEW], ignore)


def test_images_that_are_none_or_are_not_for_updates_are_refused_before_the_board_is_asked():
    for name, data in (
        ("text.bin", b"hello"),
        ("bootloader.bin", build_bootloader("esp32c3", "1.2.0")),
        ("cut.bin", NEW.data[: len(NEW.data) // 2]),
    ):
        with pytest.raises(BadImage):
            ESPHOME.inspect([Segment(0, data, name)])
    assert ESPHOME.inspect([NEW]).version == "1.2.0"


def test_an_image_that_does_not_fit_is_refused_by_the_board(session: EsphomeSession, tmp_path: Path):
    before = slot(tmp_path, 1)
    with pytest.raises(BadImage, match="larger than its OTA partition"):
        session.write([Segment(0, b"\xe9" + os.urandom(0x200000), "large.bin")], ignore)
    assert slot(tmp_path, 1) == before


@pytest.mark.parametrize("code", sorted(REFUSALS))
def test_every_error_byte_is_a_message_with_an_advice(code: int):
    error = refusal(code)
    assert f"({code:#04x})" in error.message
    assert error.advice


def test_error_bytes_that_are_not_known_yet_are_errors_too():
    assert isinstance(refusal(0xA5), FlashFailed)


class Impostor:
    """A server that says what it is told to, to one client."""

    def __init__(self, *says: bytes) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._server.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, args=(says,))
        self._thread.start()

    def _serve(self, says: tuple[bytes, ...]) -> None:
        self._server.settimeout(30)
        client, _ = self._server.accept()
        with client:
            client.sendall(b"".join(says))
            client.settimeout(30)
            try:
                while client.recv(4096):
                    pass
            except OSError:
                pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        self._server.close()


@pytest.mark.parametrize(
    ("says", "error"),
    [
        ((b"SSH-2.0-OpenSSH_9.2\r\n",), "does not speak this protocol"),
        ((b"\x00\x03",), "version 3 of the protocol"),
        ((b"\x00\x02\x40\x02" + b"z" * 64,), "nonce can not be understood"),
        ((b"\x00\x02\x40\x99",), "unknown error"),
        ((b"\x00\x02\x40\x07",), "does not speak this protocol"),
    ],
)
def test_who_is_no_esphome_is_said_to_be_none(says, error: str, opened: Open):
    with Impostor(*says) as impostor, pytest.raises(DeviceError, match=error):
        opened(host=impostor.host, password="RIGHT", version_path=None).connect()
