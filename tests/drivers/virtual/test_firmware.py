from __future__ import annotations

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from esptool.bin_image import LoadFirmwareImage

from drivers.virtual.demo import make_demo_firmware
from drivers.virtual.esp import firmware
from tests.drivers.virtual.conftest import CHIPS

BATCHES = Path(__file__).parents[3] / "batches"
LATER = ("esp32", "esp32s3", "esp32c3")


def image_info(path: Path, chip: str) -> str:
    command = [sys.executable, "-m", "esptool", "--chip", chip, "image-info", str(path)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("chip", CHIPS)
def test_esptool_finds_nothing_wrong_with_an_application(chip: str, tmp_path: Path) -> None:
    path = tmp_path / "app.bin"
    path.write_bytes(firmware.build_app(chip, "thermostat", "3.4.5"))
    info = image_info(path, chip)
    assert "(valid)" in info
    assert "invalid" not in info.lower()
    if chip != "esp8266":
        assert "Project name: thermostat" in info
        assert "App version: 3.4.5" in info


@pytest.mark.parametrize("chip", LATER)
def test_esptool_finds_nothing_wrong_with_a_boot_loader(chip: str, tmp_path: Path) -> None:
    path = tmp_path / "bootloader.bin"
    path.write_bytes(firmware.build_bootloader(chip, "1.0.0"))
    info = image_info(path, chip)
    assert "Bootloader Information" in info
    assert "invalid" not in info.lower()


@pytest.mark.parametrize("chip", CHIPS)
def test_the_same_firmware_is_always_the_same_bytes_and_another_version_is_not(chip: str) -> None:
    first, again, other = (firmware.build_app(chip, "demo", version) for version in ("1.0.0", "1.0.0", "1.0.1"))
    assert first == again
    assert first != other
    assert len(first) == len(other)


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("size", [100 * 1024, 512 * 1024])
def test_an_application_is_about_as_large_as_asked_for(chip: str, size: int) -> None:
    data = firmware.build_app(chip, "demo", "1.0.0", size)
    assert abs(len(data) - size) < 64 * 1024
    LoadFirmwareImage(chip, data).verify()


def test_the_demonstrations_files_are_written_once_by_many(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        command = [sys.executable, "-m", "drivers.virtual.demo", str(tmp_path)]
        list(pool.map(lambda _: subprocess.run(command, check=True), range(4)))
    names = {path.name for path in tmp_path.iterdir()}
    assert names >= {f"demo-{chip}-{part}" for chip in CHIPS for part in ("1.1.0.factory.bin", "1.2.0.bin")}
    named = re.findall(r"build/demo/([\w.-]+\w)", "".join(batch.read_text() for batch in BATCHES.glob("*.yaml")))
    assert names >= set(named), "everything that the examples name"
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    make_demo_firmware(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_a_damaged_demonstration_file_is_written_again(tmp_path: Path) -> None:
    make_demo_firmware(tmp_path)
    path = tmp_path / "demo-esp32-1.2.0.bin"
    good = path.read_bytes()
    path.write_bytes(b"cut")
    make_demo_firmware(tmp_path)
    assert path.read_bytes() == good


def test_the_image_that_does_not_start_passes_every_check_of_a_file(tmp_path: Path) -> None:
    make_demo_firmware(tmp_path)
    info = image_info(tmp_path / "demo-esp32-1.3.0-noboot.bin", "esp32")
    assert "App version: 1.3.0" in info
    assert "invalid" not in info.lower()
