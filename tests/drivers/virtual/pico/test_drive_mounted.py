"""A drive that is mounted comes, goes and fails as a disk does, for tools that know nothing of a bench."""

from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path

import pytest

from drivers.virtual.client import Bench
from drivers.virtual.errors import BenchError
from drivers.virtual.pico import firmware, mounts
from drivers.virtual.pico.chips import RP2040 as CHIP
from drivers.virtual.spec import BoardSpec, Fault, PowerLoss, SlowErase
from tests.drivers.virtual.conftest import board, flash_of
from tests.drivers.virtual.pico.conftest import (
    DRIVES,
    FLASH_BASE,
    NEEDS_MOUNTS,
    PAGE,
    SECTOR,
    cp,
    has_drive,
    pages_of,
    uf2,
    uf2conv,
    until,
)

APP = firmware.build_app(CHIP, "blink", "2.5.0")


def blank(tmp_path: Path, drive: str | None = "fuse", faults: tuple[Fault, ...] = (), name: str = "b") -> BoardSpec:
    """A board that has nothing to start, and so shows its drive."""
    factory = tmp_path / "blank.bin"
    factory.write_bytes(b"\xff" * SECTOR)
    return board(name, "pico", faults, factory=factory, options={"drive": drive} if drive else {})


def mounted(bench: Bench, name: str = "b") -> Path:
    path = Path(bench.boards[name].mount_point)
    until(lambda: has_drive(str(path)))
    return path


def names(folder: Path | str) -> list[str]:
    return sorted(entry.name for entry in Path(folder).iterdir())


@NEEDS_MOUNTS
def test_the_mount_comes_and_goes_with_the_boot_loader_and_nothing_is_said_of_it(start, tmp_path: Path, capfd):
    bench = start(*(blank(tmp_path, None, name=name) for name in "ab"))
    for name in "ab":
        drive = mounted(bench, name)
        assert bench.boards[name].drive == "mounted by FUSE"
        assert os.path.ismount(drive)
        assert names(drive) == ["INDEX.HTM", "INFO_UF2.TXT"]
        assert os.statvfs(drive).f_blocks * 512 == 128 << 20
    bench.power("a", on=False)
    until(lambda: not os.path.ismount(bench.boards["a"].mount_point))
    assert names(bench.boards["a"].mount_point) == []
    bench.power("a", on=True)
    mounted(bench, "a")
    bench.stop()
    assert not any(os.path.ismount(bench.boards[name].mount_point) for name in "ab")
    assert capfd.readouterr().err == ""


@DRIVES
def test_what_uf2conv_writes_onto_the_drive_arrives_whole(start, tmp_path: Path, drive: str):
    (tmp_path / "app.bin").write_bytes(APP)
    folder = mounted(start(blank(tmp_path, drive)))
    uf2conv(tmp_path / "app.bin", folder / "NEW.UF2", "RP2040")
    until(lambda: not has_drive(str(folder)))
    assert flash_of(tmp_path, "b")[: len(APP)] == APP


@NEEDS_MOUNTS
def test_cp_fails_with_an_io_error_where_the_power_is_lost_in_the_middle(start, tmp_path: Path):
    (tmp_path / "app.uf2").write_bytes(uf2(pages_of(APP)))
    drive = mounted(start(blank(tmp_path, faults=(PowerLoss(fault="power-loss", at_byte=0x1234),))))
    copied = cp(tmp_path / "app.uf2", str(drive))
    assert (copied.returncode, "Input/output error" in copied.stderr) == (1, True)
    assert not os.path.ismount(drive)
    whole = -(-0x1234 // SECTOR) * SECTOR
    assert flash_of(tmp_path, "b")[:whole] == APP[:0x1234].ljust(whole, b"\xff")


@NEEDS_MOUNTS
def test_who_has_a_file_open_when_the_drive_leaves_can_but_close_it(start, tmp_path: Path):
    bench = start(blank(tmp_path))
    drive = mounted(bench)
    file = os.open(drive / "x.uf2", os.O_WRONLY | os.O_CREAT)
    os.write(file, b"hello")
    os.fsync(file)
    bench.power("b", on=False)
    for act in (lambda: os.write(file, b"hello"), lambda: os.fsync(file)):
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            act()
    os.close(file)
    bench.power("b", on=True)
    assert names(mounted(bench)) == ["INDEX.HTM", "INFO_UF2.TXT"]


@NEEDS_MOUNTS
def test_a_writer_waits_for_the_board_and_nobody_else_does(start, tmp_path: Path):
    drive = mounted(start(blank(tmp_path, faults=(SlowErase(fault="slow-erase", seconds=4, times=1),))))
    block = uf2({FLASH_BASE: b"\0" * PAGE, FLASH_BASE + PAGE: b"\0" * PAGE})[:512]
    writing = threading.Thread(target=(drive / "x.uf2").write_bytes, args=(block,))
    began = time.monotonic()
    writing.start()
    until(lambda: (drive / "x.uf2").exists())
    assert (drive / "INFO_UF2.TXT").read_text().startswith("UF2 Bootloader")
    assert writing.is_alive()
    writing.join()
    assert time.monotonic() - began >= 4
    assert flash_of(tmp_path, "b")[:PAGE] == b"\0" * PAGE


@NEEDS_MOUNTS
def test_sectors_arrive_when_they_are_whole_also_again_and_out_of_order(start, tmp_path: Path):
    drive = mounted(start(blank(tmp_path)))
    data = uf2({FLASH_BASE + PAGE * page: bytes([page]) * PAGE for page in range(4)})
    with (drive / "x.uf2").open("wb", buffering=0) as file:
        for start_of_piece in (1536, 0, 512 - 100, 512 - 100 + 700):
            file.seek(start_of_piece)
            file.write(data[start_of_piece : start_of_piece + 700])
    until(lambda: not (drive / "x.uf2").exists())
    assert flash_of(tmp_path, "b")[: 4 * PAGE] == b"".join(bytes([page]) * PAGE for page in range(4))


@NEEDS_MOUNTS
def test_files_can_be_written_anew_renamed_and_removed(start, tmp_path: Path):
    drive = mounted(start(blank(tmp_path)))
    for text in "long text", "short":
        (drive / "a.txt").write_text(text)
    (drive / "a.txt").rename(drive / "b.txt")
    assert (drive / "b.txt").read_text() == "short"
    (drive / "b.txt").unlink()
    assert names(drive) == ["INDEX.HTM", "INFO_UF2.TXT"]
    with pytest.raises(FileNotFoundError):
        (drive / "b.txt").read_text()


@NEEDS_MOUNTS
@pytest.mark.parametrize("drive", ["fuse", "folder"])
def test_what_a_killed_bench_has_left_mounted_is_in_nobodys_way(start, tmp_path: Path, drive: str):
    killed = start(blank(tmp_path))
    path = mounted(killed)
    killed._process.kill()
    killed._process.wait()
    with pytest.raises(OSError, match=os.strerror(errno.ENOTCONN)):
        names(path)
    again = start(blank(tmp_path, drive))
    assert mounted(again) == path
    assert os.path.ismount(path) is (drive == "fuse")
    again.stop()
    assert names(path) == []


def test_why_a_drive_is_no_mount_is_said(start, tmp_path: Path, monkeypatch):
    assert start(blank(tmp_path, "folder")).boards["b"].drive == "a plain folder: as the option `drive` says"
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "mfusepy.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "without"))
    why = "mfusepy is not installed: pip install 'batch-flash[fuse]'"
    assert start(blank(tmp_path, None, name="c")).boards["c"].drive == f"a plain folder: {why}"
    with pytest.raises(BenchError, match="d: its drive can not be mounted here: mfusepy is not installed"):
        start(blank(tmp_path, "fuse", name="d"))
    with pytest.raises(BenchError, match="drive is fuse or folder, not 'floppy'"):
        start(blank(tmp_path, "floppy", name="d"))


@NEEDS_MOUNTS
def test_a_device_that_may_not_be_opened_after_all_is_no_mount(tmp_path: Path, monkeypatch):
    """As in a container whose rules for devices are other than the file's mode."""
    monkeypatch.setattr(mounts, "_DEVICE", tmp_path)
    assert mounts.why_none() == f"{tmp_path} can not be used: Is a directory"
