"""A port has one holder on a machine, and whoever waits is told who."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from drivers.base import Category, PortInUse
from harness.locks import PortLock
from harness.port_names import resolved_port

HOLD = """
import sys
from pathlib import Path
from harness.locks import PortLock
lock = PortLock(sys.argv[1], "run-7", "ESP32_001", Path(sys.argv[2]))
lock.acquire(5)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path):
    """Another process that holds the port until it is ended."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, "/dev/ttyX0", str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_the_message_to_whoever_waits_names_process_run_and_device(holder, tmp_path: Path):
    with pytest.raises(PortInUse) as raised:
        PortLock("/dev/ttyX0", "run-8", "ESP32_009", tmp_path).acquire(0.1)
    assert f"process {holder.pid} (run run-7, device ESP32_001" in str(raised.value)
    assert raised.value.category is Category.CONNECTION


def test_whoever_waits_is_told_for_whom_before_the_wait(holder, tmp_path: Path):
    told = []

    def end_the_holder(text: str) -> None:
        told.append(text)
        holder.kill()

    with PortLock("/dev/ttyX0", "run-8", "ESP32_009", tmp_path) as lock:
        lock.acquire(30, end_the_holder)
        assert lock.is_held
    assert len(told) == 1
    assert told[0].startswith(f"/dev/ttyX0 is in use by process {holder.pid} (run run-7, device ESP32_001")


def test_a_killed_holder_leaves_the_port_free(holder, tmp_path: Path):
    holder.kill()
    holder.wait()
    with PortLock("/dev/ttyX0", "run-8", "ESP32_009", tmp_path) as lock:
        lock.acquire(5)
        assert lock.is_held


def test_a_link_and_its_target_are_one_port(holder, tmp_path: Path):
    link = tmp_path / "usb-Silicon_Labs_CP2102-if00"
    link.symlink_to("/dev/ttyX0")
    with pytest.raises(PortInUse):
        PortLock(str(link), "run-8", "ESP32_009", tmp_path).acquire(0.1)


def test_urls_that_differ_in_options_only_are_one_port():
    assert resolved_port("rfc2217://127.0.0.1:4000?ign_set_control") == resolved_port("rfc2217://127.0.0.1:4000")


def test_a_released_port_can_be_taken_again(tmp_path: Path):
    first, second = (PortLock("/dev/ttyX1", "run", name, tmp_path) for name in ("A", "B"))
    first.acquire(1)
    first.release()
    second.acquire(1)
    assert second.holder().device_id == "B"
    second.release()
    assert second.holder() is None


def test_a_second_user_of_the_machine_can_take_part(tmp_path: Path):
    before = os.umask(0o077)
    try:
        with PortLock("/dev/ttyX", "run-1", "A", tmp_path / "locks") as lock:
            lock.acquire(1)
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "locks", *(tmp_path / "locks").iterdir())}
    assert modes == {"locks": 0o777, "dev_ttyX.lock": 0o666}
