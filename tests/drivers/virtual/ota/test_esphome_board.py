"""The virtual ESPHome board: stock `espota2` updates it, in each version and with each authentication."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.virtual.client import Bench, BenchError
from drivers.virtual.esp.firmware import build_app
from drivers.virtual.spec import BenchSpec, BoardSpec, StuckInApp, WrongChip
from tests.stock import run

SECRET = "correct horse"
LOCKED = {"password": {"env": "BENCH_PASSWORD"}}
BOARDS = {
    "NEWEST": {},
    "SHA": LOCKED,
    "MD5": {**LOCKED, "authentication": "md5", "extended": False},
    "V1": {"protocol": 1, "extended": False},
    "ESP8266": {"chip": "esp8266"},
}
ESPOTA = """
import sys
from pathlib import Path
from esphome import espota2
host, port, password, path = sys.argv[1:]
sys.exit(espota2.run_ota(host, int(port), password or None, Path(path))[0])
"""


@pytest.fixture
def board() -> str:
    """The one that a test is about; a test's own parameter takes its place."""
    return "NEWEST"


@pytest.fixture
def bench(board: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setenv("BENCH_PASSWORD", SECRET)
    spec = BoardSpec(board_id=board, chip="esphome", options=BOARDS[board], flash_size=0x200000)
    with Bench.start(BenchSpec(state=tmp_path, boards=(spec,))) as running:
        yield running


def espota(bench: Bench, board: str, image: bytes, folder: Path, password: str = "") -> tuple[int, str]:
    path = folder / "firmware.bin"
    path.write_bytes(image)
    host, _, port = bench.boards[board].host.rpartition(":")
    done = run("-c", ESPOTA, host, port, password, path)
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("board", "password"), [("NEWEST", ""), ("SHA", SECRET), ("MD5", SECRET), ("V1", ""), ("ESP8266", "")]
)
def test_stock_espota2_updates_it(board: str, password: str, bench: Bench, tmp_path: Path):
    image = build_app("esp8266" if board == "ESP8266" else "esp32", "demo", "1.2.0")
    status, said = espota(bench, board, image, tmp_path, password)
    assert status == 0, said
    number = 0 if board == "ESP8266" else 1  # its boot loader copies it over the old one
    path = tmp_path / board / f"slot{number}.bin"
    end = time.monotonic() + 20
    while not path.read_bytes().startswith(image):
        assert time.monotonic() < end, "it did not restart with the image"
        time.sleep(0.05)


@pytest.mark.parametrize("board", ["SHA", "MD5"])
def test_stock_espota2_is_refused_with_a_wrong_password(board: str, bench: Bench, tmp_path: Path):
    status, said = espota(bench, board, build_app("esp32", "demo", "1.2.0"), tmp_path, "battery staple")
    assert status == 1
    assert "Authentication invalid" in said


def test_stock_espota2_is_told_what_is_wrong_with_an_image(bench: Bench, tmp_path: Path):
    room = (tmp_path / "NEWEST" / "slot1.bin").stat().st_size
    for image, words in (
        (b"\x00" * 70_000, "Invalid magic byte"),
        (build_app("esp32", "demo", "1.2.0")[:-40], "Finishing update failed"),
        (b"\xe9" * (room + 1), "OTA partition on the ESP is too small"),
    ):
        status, said = espota(bench, "NEWEST", image, tmp_path)
        assert status == 1
        assert words in said, said


def test_faults_that_such_a_board_can_not_have_are_refused_by_name(bench: Bench):
    for fault in (StuckInApp(fault="stuck-in-app"), WrongChip(fault="wrong-chip", chip="esp32")):
        with pytest.raises(BenchError, match=fault.fault):
            bench.set_faults("NEWEST", [fault])


def test_a_password_that_is_not_there_ends_the_bench_and_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("BENCH_PASSWORD", raising=False)
    board = BoardSpec(board_id="SHA", chip="esphome", options=LOCKED)
    with pytest.raises(BenchError, match="BENCH_PASSWORD is not set"):
        Bench.start(BenchSpec(state=tmp_path, boards=(board,)))
