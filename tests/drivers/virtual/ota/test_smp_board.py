"""The virtual Zephyr board: stock smpmgr takes it for one, and MCUboot's swap does what its documents say."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.virtual.client import Bench, BenchError
from drivers.virtual.ota import smp_firmware
from drivers.virtual.ota.mcuboot import TRAILER
from drivers.virtual.ota.smp import SLOT_SIZE
from drivers.virtual.spec import BenchSpec, BoardSpec, StuckInApp, WrongChip
from tests.stock import imgtool_sign, run
from tests.udp_relay import own_address, relay

SMP_PORT = 1337  # smpmgr knows no other
SMPMGR = ("-m", "smpmgr", "--timeout", "20", "--ip")  # seconds, for each answer: it asks once


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Bench.start(BenchSpec(state=tmp_path, boards=(BoardSpec(board_id="ZEPHYR", chip="smp"),))) as running:
        yield running


@pytest.fixture
def host(bench: Bench) -> Iterator[str]:
    """The board's address, with SMP at the port that stock tools use."""
    with relay(bench.boards["ZEPHYR"].host, own_address(), SMP_PORT):
        yield own_address()


def smpmgr(host: str, *arguments: object) -> str:
    done = run(*SMPMGR, host, *arguments)
    assert done.returncode == 0, done.stdout
    return " ".join(done.stdout.split())


def slot(tmp_path: Path, number: int) -> bytes:
    return (tmp_path / "ZEPHYR" / f"slot{number}.bin").read_bytes()


def states(host: str) -> list[dict[str, str]]:
    """As smpmgr prints them."""
    said = smpmgr(host, "image", "state-read").replace("HashBytes(", "").replace(" ", "")
    return [dict(re.findall(r"(\w+)='?([^',)]*)", one)) for one in said.split("ImageState(")[1:]]


def wait_for_slot(tmp_path: Path, number: int, beginning: bytes) -> None:
    """Until MCUboot has swapped."""
    end = time.monotonic() + 20
    while not slot(tmp_path, number).startswith(beginning):
        assert time.monotonic() < end, "the slots were not swapped"
        time.sleep(0.05)


def test_stock_smpmgr_updates_it_with_an_image_of_imgtool_and_it_reverts_until_confirmed(host: str, tmp_path: Path):
    image = imgtool_sign(bytes(range(256)) * 200, "2.5.1+7", tmp_path)
    (tmp_path / "new.bin").write_bytes(image)
    old = slot(tmp_path, 0)[:-TRAILER]
    smpmgr(host, "image", "upload", tmp_path / "new.bin")
    assert slot(tmp_path, 1)[: len(image)] == image
    uploaded = states(host)[1]
    assert uploaded["version"] == "2.5.1.7", "Zephyr puts a dot before the build number"
    smpmgr(host, "image", "state-write", uploaded["hash"])
    smpmgr(host, "os", "reset")
    wait_for_slot(tmp_path, 0, image)
    first, second = states(host)
    assert (first["active"], first["confirmed"], second["confirmed"]) == ("True", "False", "True")
    smpmgr(host, "os", "reset")
    wait_for_slot(tmp_path, 0, old)


def test_stock_smpmgr_updates_it_for_good(host: str, tmp_path: Path):
    image = imgtool_sign(b"an application" * 1000, "3.0.0", tmp_path)
    (tmp_path / "new.bin").write_bytes(image)
    smpmgr(host, "upgrade", "--confirm", tmp_path / "new.bin")
    wait_for_slot(tmp_path, 0, image)
    first, _ = states(host)
    assert (first["version"], first["confirmed"]) == ("3.0.0", "True")


def test_it_refuses_what_is_no_image_and_what_does_not_fit(host: str, tmp_path: Path):
    (tmp_path / "junk.bin").write_bytes(b"\x55" * 4096)
    said = run(*SMPMGR, host, "image", "upload", "--format", "any", tmp_path / "junk.bin").stdout
    assert "INVALID_IMAGE_HEADER_MAGIC" in said
    (tmp_path / "large.bin").write_bytes(smp_firmware.image("9.9.9", SLOT_SIZE))
    said = run(*SMPMGR, host, "image", "upload", tmp_path / "large.bin").stdout
    assert "IMAGE_TOO_LARGE" in said
    assert slot(tmp_path, 1) == b"\xff" * SLOT_SIZE


def test_faults_that_such_a_board_can_not_have_are_refused_by_name(bench: Bench):
    for fault in (StuckInApp(fault="stuck-in-app"), WrongChip(fault="wrong-chip", chip="esp32")):
        with pytest.raises(BenchError, match=fault.fault):
            bench.set_faults("ZEPHYR", [fault])


def test_an_option_that_it_does_not_know_is_refused(tmp_path: Path):
    board = BoardSpec(board_id="ZEPHYR", chip="smp", options={"legacy_cr": True})
    with pytest.raises(BenchError, match="legacy_cr"):
        Bench.start(BenchSpec(state=tmp_path, boards=(board,)))


def test_the_demonstration_files_are_images_that_stock_imgtool_verifies(tmp_path: Path):
    for name, contents in smp_firmware.demo_files():
        (tmp_path / name).write_bytes(contents)
        done = run("-m", "imgtool.main", "verify", tmp_path / name, tools=False)
        assert done.returncode == 0, done.stdout
