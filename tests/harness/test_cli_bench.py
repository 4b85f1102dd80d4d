"""`batch-flash bench`: virtual boards by hand, for tools that know nothing of us."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BATCH_FLASH = [sys.executable, "-c", "from harness.cli import main; main()"]


@contextmanager
def bench(folder: Path, *arguments: str, boards: int = 1) -> Iterator[list[list[str]]]:
    """The command in the foreground of its own process: what it prints of each board."""
    process = subprocess.Popen(
        [*BATCH_FLASH, "bench", *arguments], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield [process.stdout.readline().split() for _ in range(boards)]
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=30)
        assert (process.returncode, complaints) == (0, "")
    finally:
        process.kill()
        process.communicate()


def esptool(port: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "esptool", "--port", port, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_each_boards_ports_are_printed_and_stock_esptool_finds_the_chip_behind_both(tmp_path: Path):
    with bench(tmp_path, "--board", "esp8266", "--board", "esp32c3", boards=2) as ((first, *ports), (second, *_)):
        assert (first, second) == ("esp8266-1", "esp32c3-1")
        assert ports[0].startswith("rfc2217://127.0.0.1:")
        for port in ports:
            assert "ESP8266" in esptool(port, "chip-id")


def test_a_batchs_boards_are_hosted_under_their_names_with_their_macs(tmp_path: Path):
    (tmp_path / "app.bin").write_bytes(b"not an image, which only a bootable one needs to be")
    (tmp_path / "batch.yaml").write_text(
        """
        name: By hand
        device_type: esp32
        version: "1.0"
        images: [{file: app.bin, address: 0x9000}]
        targets:
          - device_id: RIG_7
            connection_info: {port: /dev/ttyUSB7}
            expected: {mac: "24:0a:c4:00:00:77"}
        """
    )
    with bench(tmp_path, "batch.yaml") as [[name, url, _pty]]:
        assert name == "RIG_7"
        assert "24:0a:c4:00:00:77" in esptool(url, "read-mac")


def test_an_unknown_chip_is_said_in_a_line(tmp_path: Path):
    done = subprocess.run(
        [*BATCH_FLASH, "bench", "--board", "z80"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "z80" in done.stderr
    assert "Traceback" not in done.stderr
